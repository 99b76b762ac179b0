"""What the programs do once flags are parsed: rooms are wired together here, and nowhere else.

May import everything but programs; nobody but programs imports it.
"""
