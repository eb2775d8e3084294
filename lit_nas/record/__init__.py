"""How runs and modules are written down: constructor calls, checkpoints, their formats, and what may change in them.

Nothing is imported here, because command-line help needs the names of classes and not torch.
"""
