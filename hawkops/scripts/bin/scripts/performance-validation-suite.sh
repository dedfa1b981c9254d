#!/bin/sh
# performance-validation-suite.sh: the runbook's comparisons in the runbook's order; stops at the first failure.
# Judges the backends that the release declares (HAWKOPS_BACKENDS, default cpu). Exit 77: something could not be measured.
# --device=SERIAL (or host) is passed to every test.
device=
for word; do
    case $word in
        --device=?*) device=$word ;;
        *) echo "unknown option: $word; the suite takes --device=SERIAL" >&2; exit 2 ;;
    esac
done
cd "$(dirname "$0")/.." || exit 1
declared=",$(printf %s "${HAWKOPS_BACKENDS:-cpu}" | tr -d ' ' | tr A-Z a-z),"
unmeasured=

# Runs a test and leaves its number in $value. False: it could not measure, so there is nothing to compare.
measure() {
    value=$("./scripts/$1" ${device:+"$device"})
    status=$?
    if [ "$status" -eq 77 ]; then
        echo "⚪ $2 could not be measured"
        unmeasured="${unmeasured:+$unmeasured, }$2"
        return 1
    fi
    case $value in
        '' | *[!0-9]*)
            echo "❌ $2: $1 printed no number"
            exit 1
            ;;
    esac
}

# Ends the suite when a test failed although its number keeps the limit.
settled() {
    if [ "$status" -ne 0 ]; then
        echo "❌ $1 test failed (exit $status)"
        exit 1
    fi
}

echo "🔧 Running LiteRT Performance Validation Suite..."

# Test CPU backend performance
case $declared in
    *,cpu,*)
        echo "Testing CPU backend..."
        if measure test-cpu-performance.sh "CPU performance"; then
            cpu_performance=$value
            if [ "$cpu_performance" -lt 243 ]; then
                echo "❌ CPU performance below threshold: $cpu_performance tokens/sec"
                exit 1
            fi
            settled "CPU performance"
        fi
        ;;
    *) echo "➖ CPU backend: not declared by this release, not judged" ;;
esac

# Test GPU backend performance (if available)
case $declared in
    *,gpu,*)
        echo "Testing GPU backend..."
        if measure test-gpu-performance.sh "GPU performance"; then
            gpu_performance=$value
            if [ "$gpu_performance" -gt 0 ] && [ "$gpu_performance" -lt 1876 ]; then
                echo "❌ GPU performance below threshold: $gpu_performance tokens/sec"
                exit 1
            fi
            settled "GPU performance"
        fi
        ;;
    *) echo "➖ GPU backend: not declared by this release, not judged" ;;
esac

# Test memory usage
echo "Testing memory usage..."
if measure test-memory-usage.sh "Memory usage"; then
    memory_usage=$value
    if [ "$memory_usage" -gt 2000 ]; then
        echo "❌ Memory usage exceeds threshold: $memory_usage MB"
        exit 1
    fi
    settled "Memory usage"
fi

# Test backend switching
echo "Testing backend switching..."
if measure test-backend-switching.sh "Backend switching"; then
    switch_time=$value
    if [ "$switch_time" -gt 500 ]; then
        echo "❌ Backend switching too slow: $switch_time ms"
        exit 1
    fi
    settled "Backend switching"
fi

if [ -n "$unmeasured" ]; then
    echo "⚪ Nothing failed, but this could not be measured: $unmeasured"
    exit 77
fi
echo "✅ All performance tests passed!"
