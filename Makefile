# Two commands matter: `make demo` and `make test`. Both work on a fresh machine with Python >= 3.11 and a C++ compiler.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
CORES  ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test slow lint bench bench-cuda sanitize valgrind instructions docs claims clean

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "normkit needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip

# torch first and by itself, as constraints.txt pins it: a looser range can pull a CUDA build of several gigabytes.
$(VENV)/.torch: constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -c constraints.txt torch
	touch $@

$(VENV)/.normkit: pyproject.toml CMakeLists.txt $(wildcard native/*/* native/*/*/*) $(VENV)/.torch
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

# Not after .normkit but in its place: the native part is then built once.
$(VENV)/.test: pyproject.toml CMakeLists.txt $(wildcard native/*/* native/*/*/*) $(VENV)/.torch
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[all,test]"
	touch $(VENV)/.normkit $@

$(VENV)/.docs: $(VENV)/.normkit
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[docs]"
	touch $@

demo: $(VENV)/.normkit
	$(BIN)/normkit diagnose --treat --out normkit-report --force

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest -n $(CORES) tests

slow: $(VENV)/.test
	$(BIN)/python -m pytest -n $(CORES) --slow -m slow tests

bench: $(VENV)/.test
	$(BIN)/normkit bench --out benchmarks/results/latest

# On a machine with a GPU, with the Python that has torch for it (nothing is installed), within ten minutes: the tests of
# the GPU kernels, tiles and crossovers measured and kept, then the bench. RESULTS is the folder of the result's folder.
CUDA_PYTHON ?= python3
RESULTS     ?= benchmarks/results
WORKERS     ?= 8
bench-cuda: export PYTHONPATH := src:$(PYTHONPATH)
bench-cuda:
	@$(CUDA_PYTHON) -c 'import torch; torch.cuda.is_available() or exit("torch sees no CUDA device: there is nothing to time")'
	@status=0; \
	timeout 200 $(CUDA_PYTHON) -m pytest -n $(WORKERS) --dist load -p no:cacheprovider -p no:benchmark \
	    --ignore tests/kernels/triton/test_interpreter.py tests/kernels/triton tests/contract/test_operations.py \
	    -k "triton or every_kernel" || status=$$?; \
	$(CUDA_PYTHON) -m normkit bench --tune --device cuda --quick --minutes 2 || status=$$?; \
	folder="$(RESULTS)/$$($(CUDA_PYTHON) -c 'import torch; print("-".join(torch.cuda.get_device_name().lower().split()))')"; \
	mkdir -p "$$folder"; file="$$folder/$$(date +%F).json"; \
	$(CUDA_PYTHON) -m normkit bench --device cuda --minutes 3.5 --json >"$$file.part" && mv "$$file.part" "$$file" || status=$$?; \
	echo "$$file"; exit $$status

# The core's own tests, no Python: under AddressSanitizer and UBSan, and under valgrind (which knows no AVX-512).
sanitize:
	cmake -S . -B build/sanitize -DNORMKIT_PYTHON=OFF -DNORMKIT_TESTS=ON -DNORMKIT_SANITIZE=ON
	cmake --build build/sanitize
	NORMKIT_FUZZ_CALLS=2000 ctest --test-dir build/sanitize --output-on-failure

build/core: CMakeLists.txt $(wildcard native/*/* native/*/*/*)
	cmake -S . -B $@ -DNORMKIT_PYTHON=OFF -DNORMKIT_TESTS=ON
	cmake --build $@
	touch $@

valgrind: build/core
	NORMKIT_ISA=avx2 NORMKIT_FUZZ_CALLS=60 OMP_NUM_THREADS=1 \
	valgrind --quiet --error-exitcode=9 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite build/core/test_softmax_fuzz

# Instructions per element, counted by callgrind, against the committed table: load does not change them.
instructions: build/core
	$(PYTHON) benchmarks/count_instructions.py build/core/kernel_calls

docs: $(VENV)/.docs
	$(BIN)/mkdocs build --strict

claims: $(VENV)/.test
	$(BIN)/python -m normkit.papers._harness.claims_page --out normkit-report/papers --page docs/claims.md

clean:
	rm -rf $(VENV) build dist site normkit-report
