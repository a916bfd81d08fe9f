"""The operations of the model as a processor likes them: same results, less time and memory.

Each `fast_…` function is the twin of a formula in the files above, entered from one line there, and
only where a configuration says `fused`. Tests hold the two equal in value and gradient.
"""
