"""Complete programs that show what LoopGrad is for; run one with `python -m demos.<name>`."""
