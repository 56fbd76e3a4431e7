// CPython's stable ABI of 3.11: what is built on it runs on every later version.
#pragma once
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
