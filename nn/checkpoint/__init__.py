"""Weights and runs of training as safetensors files: exact, whole or not at all, data only."""

from nn.checkpoint.file import State, load, save
from nn.checkpoint.folder import Checkpoints

__all__ = ["Checkpoints", "State", "load", "save"]
