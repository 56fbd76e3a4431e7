// The softmax family along an axis whose neighbours lie `inner` elements apart: a vector over columns, and in every
// lane that column's own reference.
//
// A group of up to four vectors of columns is walked three times: maximum, sum, write. Columns whose maximum is
// beyond the fast range have it subtracted first (see shifted_row.hpp for why that is exact).
#pragma once
#include "gradients.hpp"
#include "subtract_log.hpp"

namespace {

constexpr int COLUMN_VECTORS = 4;
constexpr int64_t COLUMN_GROUP = COLUMN_VECTORS * LANES;
constexpr int64_t COLUMN_BLOCK = 8;  // elements of a column summed in float32 before they go into the double

NK_INLINE vf absolute(vf v) { return (vf)((vi)v & 0x7fffffff); }

// V vectors of neighbouring columns; the last may be partial.
template <int V>
struct ColumnSpan {
    int64_t rows, stride;
    int last;  // columns of the last vector

    NK_INLINE int count(int k) const { return k == V - 1 ? last : LANES; }
    template <class T>
    NK_INLINE vf get(const T* p, int64_t row, int k, float fill) const {
        return load_up_to(p + row * stride + k * LANES, count(k), fill);
    }
    template <class T>
    NK_INLINE void put(T* p, int64_t row, int k, vf v) const {
        store_up_to(p + row * stride + k * LANES, v, count(k));
    }
    // sum[k] = sum over the rows of term(row, k), blocks of float32 added in double.
    template <int64_t Block, class Term>
    NK_INLINE void sums(lane_doubles (&sum)[V], Term term) const {
        for (int k = 0; k < V; ++k) sum[k] = lane_doubles{};
        for (int64_t row = 0; row < rows;) {
            const int64_t end = row + smaller(Block, rows - row);
            vf partial[V] = {};
            for (; row < end; ++row) {
                for (int k = 0; k < V; ++k) partial[k] += term(row, k);
            }
            for (int k = 0; k < V; ++k) sum[k] += to_doubles(partial[k]);
        }
    }
};

// The constants of the exponentials of one vector of columns: e^(x - shift) 2^-reference.
struct ColumnReference {
    vf maximum, shift, reference, bias, floor;

    NK_INLINE void set(vf m) {
        maximum = m;
        const vf size = absolute(m);
        const vi shifted = (vi)(size >= broadcast(FULL_SPEED_LIMIT)) & (vi)(size < broadcast(__builtin_inff()));
        shift = where(shifted, m, vf{});
        vf n = round_to_integer(m * LOG2_E);
        n = where((vi)(n > broadcast(-REFERENCE_LIMIT)), n, broadcast(-REFERENCE_LIMIT));  // NaN goes here too
        n = min_keep(broadcast(REFERENCE_LIMIT), n);
        reference = where(shifted, vf{}, n);
        bias = bias_of(reference);
        floor = (reference - 127.0f) * LN_2;
    }
    template <bool High>
    NK_INLINE vf exponential(vf x) const {
        return exponential_with<High, false>(x - shift, bias, floor, bias);
    }
    NK_INLINE lane_doubles log_sum(lane_doubles sum) const {
        lane_doubles result = to_doubles(shift) + to_doubles(reference) * LN_2_DOUBLE + logarithm<LANES>(sum);
        for (int lane = 0; lane < LANES; ++lane) {
            if (sum[lane] == 0.0) result[lane] = static_cast<double>(MINUS_INFINITY);
        }
        return result;
    }
};

template <class T, int V>
NK_INLINE void column_maxima(const ColumnSpan<V>& span, const T* x, ColumnReference (&columns)[V]) {
    vf maximum[V];
    for (int k = 0; k < V; ++k) maximum[k] = broadcast(MINUS_INFINITY);
    for (int64_t row = 0; row < span.rows; ++row) {
        for (int k = 0; k < V; ++k) maximum[k] = max_keep(maximum[k], span.get(x, row, k, MINUS_INFINITY));
    }
    for (int k = 0; k < V; ++k) columns[k].set(maximum[k]);
}

template <class T>
bool column_has_nan(const T* x, int64_t rows, int64_t stride) {
    for (int64_t row = 0; row < rows; ++row) {
        if (load_one(x + row * stride) != load_one(x + row * stride)) return true;
    }
    return false;
}

// The sum of a column with +inf is NaN as that of a column with NaN is; its logarithm is +inf.
template <class T, int V>
void restore_infinities(const ColumnSpan<V>& span, const T* x, int k, const ColumnReference& columns,
                        lane_doubles& log_sum) {
    for (int lane = 0; lane < span.count(k); ++lane) {
        if (columns.maximum[lane] != __builtin_inff()) continue;
        if (!column_has_nan(x + k * LANES + lane, span.rows, span.stride)) log_sum[lane] = __builtin_inf();
    }
}

// Half types would round the exponentials that float32 keeps in the output.
template <class T>
constexpr bool keeps_in_output() {
    return sizeof(T) == sizeof(float);
}

template <class T, bool High, int V>
NK_INLINE void write_scaled(const ColumnSpan<V>& span, const T* x, T* y, const ColumnReference (&columns)[V],
                            const lane_doubles (&factor)[V]) {
    vf high[V], low[V];
    for (int k = 0; k < V; ++k) {
        const Gain<High> gain(factor[k]);
        high[k] = gain.high;
        low[k] = gain.low;
    }
    for (int64_t row = 0; row < span.rows; ++row) {
        for (int k = 0; k < V; ++k) {
            const vf e = keeps_in_output<T>()
                             ? span.get(y, row, k, 0.0f)
                             : columns[k].template exponential<High>(span.get(x, row, k, MINUS_INFINITY));
            span.put(y, row, k, High ? fma(e, high[k], e * low[k]) : e * high[k]);
        }
    }
}

// As write_infinite_gradient, for the columns of a vector whose maximum is +inf and that hold no NaN.
template <class T, int V>
void restore_infinite_gradients(const ColumnSpan<V>& span, const T* x, T* dx, const T* factor, int k,
                                const ColumnReference& columns) {
    for (int lane = 0; lane < span.count(k); ++lane) {
        const int64_t column = k * LANES + lane;
        if (columns.maximum[lane] != __builtin_inff() || column_has_nan(x + column, span.rows, span.stride)) continue;
        const float zero = 0.0f * load_one(factor + column);
        for (int64_t row = 0; row < span.rows; ++row) {
            const int64_t at = column + row * span.stride;
            store_one(dx + at, load_one(x + at) == __builtin_inff() ? __builtin_nanf("") : zero);
        }
    }
}

template <class T, bool High, int V>
NK_INLINE void column_softmax(const Job& job, const ColumnSpan<V>& span, const T* x, T* y, const T* factor,
                              const ColumnReference (&columns)[V]) {
    lane_doubles sum[V];
    span.template sums<High ? 1 : COLUMN_BLOCK>(sum, [&](int64_t row, int k) {
        const vf e = columns[k].template exponential<High>(span.get(x, row, k, MINUS_INFINITY));
        if (keeps_in_output<T>()) span.put(y, row, k, e);
        return e;
    });
    lane_doubles gain[V];
    for (int k = 0; k < V; ++k) {
        gain[k] = 1.0 / sum[k];
        for (int lane = 0; lane < LANES && job.masked_zero; ++lane) {
            if (sum[k][lane] == 0.0) gain[k][lane] = 0.0;
        }
        if (factor) gain[k] *= to_doubles(load_up_to(factor + k * LANES, span.count(k), 0.0f));
    }
    write_scaled<T, High, V>(span, x, y, columns, gain);
    for (int k = 0; k < V && factor; ++k) {
        const vf infinite = broadcast(__builtin_inff());
        if (any_nan(columns[k].maximum - infinite)) restore_infinite_gradients(span, x, y, factor, k, columns[k]);
    }
}
template <class T, bool High, int V>
NK_INLINE void column_logs(const Job& job, const ColumnSpan<V>& span, const T* x, T* out,
                           const ColumnReference (&columns)[V]) {
    lane_doubles sum[V];
    span.template sums<High ? 1 : COLUMN_BLOCK>(sum, [&](int64_t row, int k) {
        return columns[k].template exponential<High>(span.get(x, row, k, MINUS_INFINITY));
    });
    vf high[V] = {}, low[V] = {};
    for (int k = 0; k < V; ++k) {
        lane_doubles log_sum = columns[k].log_sum(sum[k]);
        if (job.operation == normkit::LOGSUMEXP) {
            restore_infinities(span, x, k, columns[k], log_sum);
            store_up_to(out + k * LANES, to_floats(log_sum), span.count(k));
            continue;
        }
        high[k] = to_floats(log_sum);
        low[k] = to_floats(log_sum - to_doubles(high[k]));
        const vi masked = (vi)(high[k] == broadcast(MINUS_INFINITY));
        low[k] = where(masked, vf{}, low[k]);
        if (job.masked_zero) high[k] = where(masked, vf{}, high[k]);
    }
    if (job.operation == normkit::LOGSUMEXP) return;
    for (int64_t row = 0; row < span.rows; ++row) {
        for (int k = 0; k < V; ++k) span.put(out, row, k, SplitLog(high[k], low[k])(span.get(x, row, k, 0.0f)));
    }
}

// Marks the columns in which log y is -inf throughout.
template <class T, int V>
NK_INLINE vi masked_columns(const ColumnSpan<V>& span, const T* log_y, int k) {
    vi masked = (vi)(vf{} == vf{});
    for (int64_t row = 0; row < span.rows; ++row) {
        masked &= (vi)(span.get(log_y, row, k, MINUS_INFINITY) == broadcast(MINUS_INFINITY));
    }
    return masked;
}

template <class T, bool High, int V>
NK_INLINE void column_gradients(const Job& job, const ColumnSpan<V>& span, const T* y, const T* dy, T* dx) {
    const bool log_form = job.operation == normkit::LOG_SOFTMAX_BACKWARD;
    lane_doubles sum[V];
    const auto term = [&](int64_t row, int k) {
        const vf g = span.get(dy, row, k, 0.0f);
        return log_form ? g : g * span.get(y, row, k, 0.0f);
    };
    log_form ? span.template sums<1>(sum, term) : span.template sums<COLUMN_BLOCK>(sum, term);
    vf total[V];
    vi masked[V];
    for (int k = 0; k < V; ++k) {
        total[k] = to_floats(sum[k]);
        masked[k] = log_form && job.masked_zero ? masked_columns(span, y, k) : vi{};
    }
    const Reference reference = reference_at(0.0f);
    const vf ceiling = broadcast(LARGEST_EXPONENT);
    for (int64_t row = 0; row < span.rows; ++row) {
        for (int k = 0; k < V; ++k) {
            const vf g = span.get(dy, row, k, 0.0f), value = span.get(y, row, k, 0.0f);
            const vf d = log_form ? fnma(exponential<High>(min_keep(ceiling, value), reference), total[k], g)
                                  : value * (g - total[k]);
            span.put(dx, row, k, where(masked[k], vf{}, d));
        }
    }
}

// One group: the columns [column, column + V vectors) of outer index `outer`.
template <class T, bool High, int V>
void column_group(const Job& job, int64_t outer, int64_t column, int last) {
    const ColumnSpan<V> span = {job.dim, job.inner, last};
    const int64_t dense = outer * job.dim * job.inner + column, reduced = outer * job.inner + column;
    const T* a = static_cast<const T*>(job.a) + dense;
    const T* b = static_cast<const T*>(job.b);
    T* out = static_cast<T*>(job.out);
    if (job.operation == normkit::SOFTMAX_BACKWARD || job.operation == normkit::LOG_SOFTMAX_BACKWARD) {
        return column_gradients<T, High, V>(job, span, a, b + dense, out + dense);
    }
    ColumnReference columns[V];
    column_maxima<T, V>(span, a, columns);
    if (job.operation == normkit::SOFTMAX || job.operation == normkit::LOGSUMEXP_BACKWARD) {
        const T* factor = job.operation == normkit::SOFTMAX ? nullptr : b + reduced;
        return column_softmax<T, High, V>(job, span, a, out + dense, factor, columns);
    }
    T* destination = out + (job.operation == normkit::LOGSUMEXP ? reduced : dense);
    column_logs<T, High, V>(job, span, a, destination, columns);
}

template <class T, bool High>
void column_groups(const Job& job, int64_t begin, int64_t end) {
    const int64_t groups = (job.inner + COLUMN_GROUP - 1) / COLUMN_GROUP;
    for (int64_t group = begin; group < end; ++group) {
        const int64_t outer = group / groups;
        int64_t column = group % groups * COLUMN_GROUP;
        const int64_t stop = smaller(column + COLUMN_GROUP, job.inner);
        if (stop - column == COLUMN_GROUP) {
            column_group<T, High, COLUMN_VECTORS>(job, outer, column, LANES);
            continue;
        }
        for (; column < stop; column += LANES) column_group<T, High, 1>(job, outer, column, part(stop - column));
    }
}

}  // namespace
