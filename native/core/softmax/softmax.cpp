#include "softmax.hpp"

#include <cstdlib>
#include <cstring>
#include <new>

#include "dispatch.hpp"
#include "memory.hpp"
#include "threads.hpp"

namespace normkit {
namespace {

constexpr int64_t LINE = 64;  // bytes of a cache line
constexpr Outcome DONE = {Outcome::DONE, ""};

int64_t row_bytes(const Job& job) { return job.dim * bytes_of(job.storage); }
bool writes_softmax(const Job& job) { return job.operation == SOFTMAX || job.operation == LOGSUMEXP_BACKWARD; }
bool is_one_a_row(const Job& job) { return job.operation == LOGSUMEXP || job.operation == SOFTMAX_PAIR; }

bool output_fits_cache(const Job& job) {
    if (is_one_a_row(job)) return true;
    return !overflows_cache(job.outer * job.inner * row_bytes(job));
}

// Rows to a group such that no two groups share a cache line of the output.
int64_t rows_per_line(const Job& job) {
    if (is_one_a_row(job)) return LINE / 2;  // enough for either storage
    int64_t rows = 1;
    while (rows * row_bytes(job) % LINE != 0) rows *= 2;
    return rows;
}

struct Call {
    const SoftmaxKernels& kernels;
    const Job& job;
    int threads;
    bool deterministic;
    bool out_of_memory;
};

void run_columns(void* context, int64_t begin, int64_t end) {
    const Call& call = *static_cast<const Call*>(context);
    call.kernels.columns[call.job.storage](call.job, begin, end);
}

void run_rows(void* context, int64_t begin, int64_t end) {
    Call& call = *static_cast<Call*>(context);
    float* scratch = nullptr;
    if (call.job.path == SCRATCH) {
        scratch = scratch_rows(2 * static_cast<size_t>(call.job.dim));
        if (!scratch) {
            __atomic_store_n(&call.out_of_memory, true, __ATOMIC_RELAXED);
            return;
        }
    }
    call.kernels.rows[call.job.storage](call.job, begin, end, scratch);
}

// One row in pieces: their sums, the merged sum, their outputs.
struct SplitRow {
    const Call& call;
    int64_t row, length;
    Partial* pieces;
    Partial whole;

    int64_t start(int64_t piece) const { return piece * length; }
    int64_t count(int64_t piece) const {
        const int64_t left = call.job.dim - start(piece);
        return left < length ? left : length;
    }
};

void reduce_pieces(void* context, int64_t begin, int64_t end) {
    SplitRow& split = *static_cast<SplitRow*>(context);
    const Call& call = split.call;
    for (int64_t i = begin; i < end; ++i) {
        call.kernels.reduce_piece[call.job.storage](call.job, split.row, split.start(i), split.count(i),
                                                    split.pieces[i]);
    }
}

void finish_pieces(void* context, int64_t begin, int64_t end) {
    const SplitRow& split = *static_cast<const SplitRow*>(context);
    const Call& call = split.call;
    for (int64_t i = end - 1; i >= begin; --i) {  // what was read last is still in cache
        call.kernels.finish_piece[call.job.storage](call.job, split.row, split.start(i), split.count(i),
                                                    split.pieces[i], split.whole);
    }
}

// 2^d for d <= 0, exact; 0 where nothing of it could count.
double power_of_two(double d) {
    if (!(d > -1000.0)) return 0.0;
    const uint64_t bits = static_cast<uint64_t>(static_cast<int64_t>(d) + 1023) << 52;
    double value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

Partial merge(const Partial* pieces, int64_t count) {
    Partial whole = pieces[0];
    for (int64_t i = 1; i < count; ++i) {
        if (pieces[i].reference > whole.reference) whole.reference = pieces[i].reference;
    }
    whole.sum = 0.0;
    for (int64_t i = 0; i < count; ++i) {
        whole.sum += pieces[i].sum * power_of_two(static_cast<double>(pieces[i].reference - whole.reference));
    }
    return whole;
}

void split_row(const Call& call, int64_t row, int64_t length, Partial* pieces) {
    const int64_t count = (call.job.dim + length - 1) / length;
    SplitRow split = {call, row, length, pieces, Partial()};
    share(count, 1, call.threads, reduce_pieces, &split);
    split.whole = merge(pieces, count);
    if (call.kernels.finish_row[call.job.storage](call.job, row, split.whole)) return;
    share(count, 1, call.threads, finish_pieces, &split);
}

int64_t piece_length(const Call& call) {
    if (call.deterministic) return thresholds().piece;
    const int64_t even = (call.job.dim + call.threads - 1) / call.threads;
    return (even + 15) / 16 * 16;  // pieces start on a cache line if the row does
}

Outcome run_split(const Call& call) {
    const int64_t length = piece_length(call);
    const int64_t count = (call.job.dim + length - 1) / length;
    Partial* pieces = new (std::nothrow) Partial[static_cast<size_t>(count)];
    if (!pieces) return {Outcome::NO_MEMORY, "no memory for the list of a row's pieces"};
    for (int64_t row = 0; row < call.job.outer; ++row) split_row(call, row, length, pieces);
    delete[] pieces;
    return DONE;
}

bool is_split(const Job& job, int threads, bool deterministic) {
    if (job.inner != 1 || job.path >= TWO_PASS_PAPER) return false;
    if (deterministic) return job.dim > thresholds().piece;
    return job.outer < threads && job.dim >= thresholds().split_row;
}

// A split row has no scratch row to itself; whether pieces are kept in the output is settled as for whole rows.
Path split_path(const Job& job) { return job.path == RELOAD ? RELOAD : TWO_PASS; }

const char* refusal(const Job& job) {
    if (job.path == SHORT_ROW && job.dim > 512) return "the short-row kernel takes rows of at most 512 elements";
    if (job.path == RELOAD && job.storage != FLOAT32) return "the reload kernel takes float32 only";
    if (job.path == RELOAD && job.a == job.out) return "the reload kernel cannot work in place";
    if (job.operation == SOFTMAX_PAIR && job.inner != 1) return "softmax_pair takes rows along the last axis only";
    if (job.path >= TWO_PASS_PAPER) {
        if (job.storage != FLOAT32 || job.operation != SOFTMAX || job.inner != 1)
            return "the published algorithms are here for the forward softmax of contiguous float32 rows only";
        if (job.a == job.out && job.path != TWO_PASS_PAPER && job.path != THREE_PASS_RECOMPUTE)
            return "three-pass-reload cannot work in place";
    }
    return nullptr;
}

int threads_for(const Job& job, int wanted) {
    if (job.outer * job.dim * job.inner < thresholds().serial) return 1;
    return usable_threads(wanted);
}

Outcome run_shared(Call& call) {
    const Job& job = call.job;
    int64_t items = job.outer, unit = rows_per_line(job);
    Task task = run_rows;
    if (job.inner != 1) {
        items = job.outer * ((job.inner + call.kernels.column_group - 1) / call.kernels.column_group);
        unit = 1;
        task = run_columns;
    }
    const int64_t groups = (items + unit - 1) / unit;
    share(items, unit, groups < call.threads ? static_cast<int>(groups) : call.threads, task, &call);
    return call.out_of_memory ? Outcome{Outcome::NO_MEMORY, "no memory for a scratch row"} : DONE;
}

}  // namespace

Path choose_path(const Job& job) {
    const Thresholds& limit = thresholds();
    if (job.operation == SOFTMAX_PAIR) return TWO_PASS;
    if (job.dim <= (job.high ? limit.register_row : limit.short_row)) return SHORT_ROW;
    if (!writes_softmax(job)) return TWO_PASS;
    const bool can_reload = job.storage == FLOAT32 && job.a != job.out;
    const bool row_stays = job.dim > limit.scratch_row && row_bytes(job) < cache_bytes() / 4;
    if (can_reload && (output_fits_cache(job) || row_stays)) return RELOAD;
    return job.dim <= limit.scratch_row ? SCRATCH : TWO_PASS;
}

Outcome run(Job job, int threads, bool deterministic) {
    const KernelTable* kernels = active_kernels();
    if (!kernels) return {Outcome::NO_KERNELS, dispatch_error()};
    if (job.outer == 0 || job.dim == 0 || job.inner == 0) return DONE;
    if (job.path == AUTOMATIC) job.path = choose_path(job);
    if (const char* reason = refusal(job)) return {Outcome::BAD_JOB, reason};
    job.stream = !output_fits_cache(job);

    Call call = {*kernels->softmax, job, threads_for(job, threads), deterministic, false};
    if (!is_split(job, call.threads, deterministic)) return run_shared(call);
    job.path = split_path(job);
    return run_split(call);
}

}  // namespace normkit
