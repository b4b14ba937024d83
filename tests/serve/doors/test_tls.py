from __future__ import annotations

import asyncio
import importlib.util
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from everloop.core.errors import SettingsError
from everloop.core.settings import Settings
from everloop.serve.doors.tls import Certificate, open_certificate

_spec = importlib.util.spec_from_file_location("certificates", Path(__file__).with_name("certificates.py"))
assert _spec is not None
assert _spec.loader is not None
certificates = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = certificates
_spec.loader.exec_module(certificates)
