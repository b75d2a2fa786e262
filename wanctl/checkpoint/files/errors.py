"""The error of weights that cannot be used."""

from wanctl.errors import UserError


class WeightsError(UserError):
    """Weights are missing, cannot be read, or do not match the model."""
