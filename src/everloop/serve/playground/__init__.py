"""The server describes itself: its OpenAPI document, and a small page to try requests on."""
