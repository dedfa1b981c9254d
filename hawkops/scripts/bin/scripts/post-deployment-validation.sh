#!/bin/sh
# post-deployment-validation.sh: the runbook's four steps in the runbook's order; every one runs, whatever the others say.
# Exit 77: nothing failed, but something could not be judged.
here=$(cd "$(dirname "$0")" && pwd) || exit 1
failed=
lacking=

# Runs one step and remembers how it ended.
step() {
    title=$1
    shift
    "$@"
    status=$?
    case $status in
        0) ;;
        77) lacking="${lacking:+$lacking, }$title" ;;
        *) failed="${failed:+$failed, }$title" ;;
    esac
}

echo "🔍 Running Post-Deployment Validation..."

# Check performance metrics
step "performance metrics" "$here/validate-performance-metrics.sh" --threshold-file=production-thresholds.yaml

# Verify user experience metrics
step "user metrics" "$here/validate-user-metrics.sh" --duration=48h

# Check system health
step "system health" "$here/validate-system-health.sh" --comprehensive

# Generate validation report
step "validation report" "$here/generate-validation-report.sh" --output="validation-report-$(date +%Y%m%d).html"

if [ -n "$failed" ]; then
    echo "❌ Post-deployment validation failed: $failed${lacking:+; not judged: $lacking}"
    exit 1
fi
if [ -n "$lacking" ]; then
    echo "⚪ Nothing failed, but this could not be judged: $lacking"
    exit 77
fi
echo "✅ Post-deployment validation completed"
