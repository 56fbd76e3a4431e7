// The column norms of the core alone, against float64: every instruction set, on poisoned memory between two pages that
// may not be touched.
#include <string>
#include <vector>

#include "columns/columns.hpp"
#include "stored.hpp"

namespace {

typedef std::vector<double> Doubles;

constexpr double EPS = 0.25;

struct Case {
    Storage storage;
    int64_t rows, channels, groups;
    bool masked, at_end;
    int threads;

    int64_t bytes() const { return rows * channels * bytes_of(storage); }
    std::string name() const {
        return "storage " + std::to_string(storage) + " " + std::to_string(rows) + "x" + std::to_string(channels) +
               " groups " + std::to_string(groups) + (masked ? " masked" : "") + " threads " +
               std::to_string(threads) + ": ";
    }
};

// One call in each direction, on memory that holds nothing but what the call was given.
class Call {
public:
    explicit Call(const Case& given)
        : given_(given),
          x_(given.bytes(), given.at_end),
          y_(given.bytes(), given.at_end),
          dy_(given.bytes(), given.at_end),
          dx_(given.bytes(), given.at_end),
          gain_(4 * given.channels, given.at_end),
          shift_(4 * given.channels, given.at_end),
          scales_(4 * given.rows * given.groups, given.at_end),
          left_out_(static_cast<size_t>(given.rows)),
          sums_(static_cast<size_t>(4 * given.channels), -1.0) {
        fill(x_.get(), given.storage, given.rows * given.channels, 1, 0.5);
        fill(dy_.get(), given.storage, given.rows * given.channels, 2);
        fill(gain_.get(), FLOAT32, given.channels, 3, 1.0);
        fill(shift_.get(), FLOAT32, given.channels, 4);
        for (size_t row = 0; row < left_out_.size(); ++row) left_out_[row] = row % 3 == 1;
        forward();
        backward();
    }

    void verify() const {
        const int64_t n = given_.channels;
        Doubles exact(sums_.size(), 0.0);
        for (int64_t row = 0; row < given_.rows; ++row) verify_row(row, exact);
        for (int64_t i = 0; i < (given_.masked ? 4 : 3) * n; ++i) {
            near(sums_[static_cast<size_t>(i)], exact[static_cast<size_t>(i)], 1e-5, 0.0, "sum");
        }
    }

    bool same_rows(const Call& other) const {
        const size_t n = static_cast<size_t>(given_.bytes());
        return std::memcmp(y_.get(), other.y_.get(), n) == 0 && std::memcmp(dx_.get(), other.dx_.get(), n) == 0;
    }

private:
    void forward() {
        ColumnJob job = {};
        job.storage = given_.storage;
        job.x = x_.get();
        job.y = y_.get();
        job.gain = gain_.floats();
        job.shift = shift_.floats();
        job.scales = given_.groups ? scales_.floats() : nullptr;
        job.left_out = given_.masked ? left_out_.data() : nullptr;
        job.squares = sums_.data() + 2 * given_.channels;
        job.left_out_squares = given_.masked ? sums_.data() + 3 * given_.channels : nullptr;
        job.rows = given_.rows;
        job.channels = given_.channels;
        job.groups = given_.groups;
        job.eps = EPS;
        check(run(job, given_.threads).kind == Outcome::DONE, given_.name() + "forward runs");
    }

    void backward() {
        ColumnGradient job = {};
        job.storage = given_.storage;
        job.x = x_.get();
        job.dy = dy_.get();
        job.dx = dx_.get();
        job.scales = given_.groups ? scales_.floats() : nullptr;
        job.of_dy = gain_.floats();
        job.of_u = shift_.floats();
        job.along_u = sums_.data();
        job.along_one = sums_.data() + given_.channels;
        job.rows = given_.rows;
        job.channels = given_.channels;
        job.groups = given_.groups;
        check(run(job, given_.threads).kind == Outcome::DONE, given_.name() + "backward runs");
    }

    void near(double found, double exact, double bound, double of_storage, const char* what) const {
        const double error = std::fabs(found - exact);
        const double allowed = bound * std::fmax(1.0, std::fabs(exact)) + of_storage * std::fabs(exact);
        if (!(error <= allowed)) check(false, given_.name() + what + " is off by " + std::to_string(error));
    }

    void verify_row(int64_t row, Doubles& sums) const {
        const int64_t n = given_.channels, width = given_.groups ? n / given_.groups : n;
        for (int64_t start = 0; start < n; start += width) verify_group(row, start, width, sums);
    }

    void verify_group(int64_t row, int64_t start, int64_t width, Doubles& sums) const {
        const int64_t n = given_.channels, first = row * n + start;
        double square = 0.0, along = 0.0;
        Doubles u, du;
        for (int64_t i = 0; i < width; ++i) square += std::pow(at(x_.get(), given_.storage, first + i), 2);
        const double scale = given_.groups ? 1.0 / std::sqrt(square / static_cast<double>(width) + EPS) : 1.0;
        for (int64_t i = 0; i < width; ++i) {
            const double dy = at(dy_.get(), given_.storage, first + i);
            u.push_back(at(x_.get(), given_.storage, first + i) * scale);
            du.push_back(gain_.floats()[start + i] * dy - shift_.floats()[start + i] * u.back());
            along += du.back() * u.back() / static_cast<double>(width);
            const size_t channel = static_cast<size_t>(start + i), all = static_cast<size_t>(n);
            sums[channel] += dy * u.back();
            sums[all + channel] += dy;
            const bool other = given_.masked && left_out_[static_cast<size_t>(row)];
            sums[(other ? 3 : 2) * all + channel] += u.back() * u.back();
        }
        const double unit = rounding(given_.storage);
        for (int64_t i = 0; i < width; ++i) {
            const size_t k = static_cast<size_t>(i);
            const double y = u[k] * gain_.floats()[start + i] + shift_.floats()[start + i];
            const double dx = given_.groups ? (du[k] - u[k] * along) * scale : du[k];
            near(at(y_.get(), given_.storage, first + i), y, 2e-6, unit, "y");
            near(at(dx_.get(), given_.storage, first + i), dx, 5e-6, unit, "dx");
        }
    }

    Case given_;
    Poisoned x_, y_, dy_, dx_, gain_, shift_, scales_;
    std::vector<uint8_t> left_out_;
    Doubles sums_;  // dy u, dy, u^2 of the rows that count, u^2 of the others
};

void test_shape(int64_t rows, int64_t channels, bool at_end) {
    for (int storage = 0; storage < STORAGES; ++storage) {
        for (const int64_t groups : {0, 1, 3}) {
            if (groups && channels % groups) continue;
            for (const bool masked : {false, true}) {
                Call({static_cast<Storage>(storage), rows, channels, groups, masked, at_end, 1}).verify();
            }
        }
    }
}

void test_threads() {
    const Case alone = {FLOAT32, 531, 96, 2, true, true, 1};
    const Call serial(alone);
    for (const int threads : {2, 3, 8}) {
        Case many = alone;
        many.threads = threads;
        const Call call(many);
        call.verify();
        check(call.same_rows(serial), many.name() + "rows do not depend on the number of threads");
    }
}

// Past the cache whole vectors are streamed: the same numbers.
void test_streamed() {
    const Case cached = {FLOAT32, 70, 96, 2, false, false, 1};
    const Call before(cached);
    thresholds().cache_bytes = 16;
    const Call after(cached);
    thresholds().cache_bytes = 0;
    check(after.same_rows(before), "streamed rows are the same");
}

void test_all() {
    for (const bool at_end : {false, true}) {
        for (const int64_t channels : {1, 3, 9, 16, 33, 48, 129, 2049, 2112}) test_shape(6, channels, at_end);
        test_shape(1, 50'000, at_end);
        test_shape(300, 9, at_end);  // more rows than are added up in float32
    }
    test_threads();
    test_streamed();
}

}  // namespace

int main() { return run_everywhere(test_all); }
