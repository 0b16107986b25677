"""What the GitHub Action and the GitLab template do around the commands: `python -m reconciler.ci STEP`.

A program of its own. It runs `reconciler` as a person would, and reads what every script may read: exit codes, JSON
and saved plans. Each step notes what came of it in a folder that the next ones read; the last one gives the verdict.
"""
