"""What Darkroom costs, as ratios: to a loop that does the same work without a server, to a server of the usual kind.

`python -m benchmarks` measures everything; `python -m benchmarks --list` names the parts.
"""
