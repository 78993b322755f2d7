# What is measured: `BARGE`, or else the executable as it is released; sourced by the benches.
if [ -z "${BARGE:-}" ]; then
    echo "building" >&2
    cargo build --release --locked --quiet
    BARGE=$(find target -path '*/release/barge' -type f -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2-)
fi
