"""Passes: functions graph -> graph that change speed or memory and never what a graph means."""
