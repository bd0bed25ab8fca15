"""Processes and clusters that are lost."""

from __future__ import annotations


class ProcessLostError(Exception):
    """Another process of the run is gone, or does not answer."""


class MainLostError(ProcessLostError):
    """It is rank 0 that is gone; the message is the run's folder."""


class ClusterLostError(ProcessLostError):
    """A cluster whose scheduler is gone, or on which a job has cost one worker after the other."""
