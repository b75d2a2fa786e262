"""Licences of weights, as their code or model cards state them."""

# The code's licence was read; that of the weights is taken to be the same.
APACHE = "Apache-2.0"
APACHE_UNREAD = "Apache-2.0, as its code"
NON_COMMERCIAL = "CC BY-NC-SA 4.0"
SKYWORK = "Skywork community licence"
MIT = "MIT"
UNKNOWN = "unknown"
