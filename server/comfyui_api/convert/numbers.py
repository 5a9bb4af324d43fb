"""Numbers as the editor keeps them when it sets a widget from elsewhere: rounded, and within range.

Source of the rules: the web frontend 1.58.1, useIntWidget, useFloatWidget and nodeDefUtil (mergeInputSpec).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any, TypeGuard

_LARGEST = sys.float_info.max


def rounded(kind: str | None, config: Mapping[str, Any], value: Any) -> Any:
    """A number put into a widget from elsewhere: INT to its step, FLOAT to its precision (onValueChange)."""
    if not is_number(value):
        return value
    try:
        result = _rounded_int(config, value) if kind == "INT" else value
        result = _rounded_float(config, value) if kind == "FLOAT" else result
    except OverflowError:  # a step that leads out of what a float can hold
        return value
    return result if is_number(result) else value


def _rounded_int(config: Mapping[str, Any], value: float) -> float:
    step = _positive(config.get("step"), 1)
    if step == 1:
        return value if isinstance(value, int) else math.floor(value + 0.5)
    low = config.get("min")
    offset = math.fmod(low, step) if is_number(low) else 0
    result = math.floor((value - offset) / step + 0.5) * step + offset
    return int(result) if float(result).is_integer() else result


def _rounded_float(config: Mapping[str, Any], value: float) -> float:
    precision = max(0, -math.floor(math.log10(_positive(config.get("step"), 0.5))))
    unit = config.get("round") or (10**-precision if precision else None)
    if not is_number(unit) or unit <= 0:
        return value
    result = round(math.floor(value / unit + 0.5) * unit, precision)
    low, high = config.get("min", 0), config.get("max", 2048)
    return min(max(result, low if is_number(low) else -math.inf), high if is_number(high) else math.inf)


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a value is a number that JavaScript can hold, too."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST


def _positive(value: Any, otherwise: float) -> float:
    return value if is_number(value) and value > 0 else otherwise


def within(config: Mapping[str, Any], value: float) -> float:
    """A number no lower and no higher than a widget allows."""
    low, high = config.get("min", 0), config.get("max", 2048)
    if is_number(low) and value < low:
        return low
    return high if is_number(high) and value > high else value


# What two inputs may declare differently and still be fed by one primitive (nodeDefUtil, mergeInputSpec).
_FREE = {"default", "forceInput", "defaultInput", "control_after_generate", "multiline", "tooltip", "dynamicPrompts"}


def common_range(one: Mapping[str, Any], other: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The range that two numbers have in common; None where they cannot be fed by one primitive."""
    low = max(_number(one.get("min"), -math.inf), _number(other.get("min"), -math.inf))
    high = min(_number(one.get("max"), math.inf), _number(other.get("max"), math.inf))
    ranged = {"min", "max", "step"}
    if low > high or any(one.get(key) != other.get(key) for key in {*one, *other} - _FREE - ranged):
        return None
    step = _common_step(_number(one.get("step"), 1), _number(other.get("step"), 1))
    return {**one, **other, "min": low, "max": high, "step": step}


def _number(value: Any, otherwise: float) -> float:
    return value if is_number(value) else otherwise


def _common_step(one: float, other: float) -> float:
    first, second = float(abs(one)), float(abs(other))
    for _ in range(100):
        if not second:
            break
        first, second = second, first % second
    return abs(float(one) * other) / first if first else 0
