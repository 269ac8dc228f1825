"""The offline half: scripts, checks, actions, runner, transcript, replay, printed record."""
