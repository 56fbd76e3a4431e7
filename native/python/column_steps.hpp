// The steps of the column norms' statistics from Python: functions of addresses and numbers, which they take in order.
#pragma once
#include "arguments.hpp"
#include "columns/power_step.hpp"
#include "columns/unified_step.hpp"

namespace {

// unified_advance(running_var, squares, window, number, skipped, channels, momentum, eps, warmup, filters, sums, count,
//                 weight, rstd, ratio, gain): the step's number, times 2, plus 1 where it skips the batch
PyObject* py_unified_advance(PyObject*, PyObject* const* given, Py_ssize_t count) {
    Arguments arguments(given, count, 16, "unified_advance");
    UnifiedState state = {};
    UnifiedStep step = {};
    state.running_var = arguments.address<float>();
    state.squares = arguments.address<float>();
    state.window = arguments.number();
    state.number = arguments.address<int64_t>();
    state.skipped = arguments.address<int64_t>();
    state.channels = arguments.number();
    state.momentum = arguments.real();
    state.eps = arguments.real();
    state.warmup = arguments.number();
    state.filters = arguments.number() != 0;
    const double* sums = arguments.address<const double>();
    const double positions = arguments.real();
    const float* weight = arguments.address<const float>();
    step.rstd = arguments.address<float>();
    step.ratio = arguments.address<float>();
    float* gain = arguments.address<float>();
    if (arguments.failed()) return nullptr;
    advance(state, sums, positions, weight, step, gain);
    return PyLong_FromLongLong(2 * step.number + (step.skip ? 1 : 0));
}

// unified_gradient(gradient, gradients, window, channels, momentum, warmup, number, skip, rstd, ratio, along, alone,
//                  count, weight, of_dy, of_x, weight_gradient, bias_gradient)
PyObject* py_unified_gradient(PyObject*, PyObject* const* given, Py_ssize_t count) {
    Arguments arguments(given, count, 18, "unified_gradient");
    UnifiedState state = {};
    UnifiedStep step = {};
    UnifiedGradient found = {};
    state.gradient = arguments.address<float>();
    state.gradients = arguments.address<float>();
    state.gradient_window = arguments.number();
    state.channels = arguments.number();
    state.momentum = arguments.real();
    state.warmup = arguments.number();
    step.number = arguments.number();
    step.skip = arguments.number() != 0;
    step.rstd = arguments.address<float>();
    step.ratio = arguments.address<float>();
    const double* along = arguments.address<const double>();
    const double* alone = arguments.address<const double>();
    const double positions = arguments.real();
    const float* weight = arguments.address<const float>();
    found.of_dy = arguments.address<float>();
    found.of_x = arguments.address<float>();
    found.weight = arguments.address<float>();
    found.bias = arguments.address<float>();
    if (arguments.failed()) return nullptr;
    smooth_gradient(state, step, along, alone, positions, weight, found);
    Py_RETURN_NONE;
}

PowerChannels power_channels(Arguments& arguments) {
    PowerChannels layer = {};
    layer.channels = arguments.number();
    layer.weight = arguments.address<const float>();
    layer.eps = arguments.real();
    return layer;
}

PowerStep power_step(Arguments& arguments) {
    PowerStep step = {};
    step.divisor = arguments.address<const float>();
    step.scale = arguments.address<const float>();
    step.running = arguments.address<float>();
    step.share = arguments.real();
    return step;
}

// power_gain(channels, weight, eps, divisor, gain); weight may be 0
PyObject* py_power_gain(PyObject*, PyObject* const* given, Py_ssize_t count) {
    Arguments arguments(given, count, 5, "power_gain");
    const PowerChannels layer = power_channels(arguments);
    const float* divisor = arguments.address<const float>();
    float* gain = arguments.address<float>();
    if (arguments.failed()) return nullptr;
    power_gain(layer, divisor, gain);
    Py_RETURN_NONE;
}

// power_advance(channels, number, warmup, alpha, squares, count, phi, psi)
PyObject* py_power_advance(PyObject*, PyObject* const* given, Py_ssize_t count) {
    Arguments arguments(given, count, 8, "power_advance");
    const int64_t channels = arguments.number();
    PowerSchedule step = {};
    step.number = arguments.number();
    step.warmup = arguments.number();
    step.alpha = arguments.real();
    const double* squares = arguments.address<const double>();
    const double positions = arguments.real();
    float* phi = arguments.address<float>();
    float* psi = arguments.address<float>();
    if (arguments.failed()) return nullptr;
    power_advance(channels, step, squares, positions, phi, psi);
    Py_RETURN_NONE;
}

// power_pull(channels, weight, eps, divisor, scale, running, share, of_dy, of_u)
PyObject* py_power_pull(PyObject*, PyObject* const* given, Py_ssize_t count) {
    Arguments arguments(given, count, 9, "power_pull");
    const PowerChannels layer = power_channels(arguments);
    const PowerStep step = power_step(arguments);
    float* of_dy = arguments.address<float>();
    float* of_u = arguments.address<float>();
    if (arguments.failed()) return nullptr;
    power_pull(layer, step, of_dy, of_u);
    Py_RETURN_NONE;
}

// power_gradients(channels, weight, eps, divisor, scale, running, share, along, alone, squares, count,
//                 weight_gradient, bias_gradient)
PyObject* py_power_gradients(PyObject*, PyObject* const* given, Py_ssize_t count) {
    Arguments arguments(given, count, 13, "power_gradients");
    const PowerChannels layer = power_channels(arguments);
    const PowerStep step = power_step(arguments);
    const double* along = arguments.address<const double>();
    const double* alone = arguments.address<const double>();
    const double* squares = arguments.address<const double>();
    const double positions = arguments.real();
    float* weight = arguments.address<float>();
    float* bias = arguments.address<float>();
    if (arguments.failed()) return nullptr;
    power_gradients(layer, step, along, alone, squares, positions, weight, bias);
    Py_RETURN_NONE;
}

}  // namespace
