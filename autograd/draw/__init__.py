"""Graphs as text and as pictures. Everything here recurses through bodies and knows no loop."""
