#!/bin/sh
# Starts the compiler. What computes with frames that were read reads nothing itself: counters there would cost a
# build many minutes and lead libFuzzer astray.
compiler=$1
shift
case " $* " in
*" --crate-name polars_core "* | *" --crate-name xet_"*)
    for argument; do
        shift
        case $argument in
        -Cpasses=sancov* | -Cllvm-args=-sanitizer*) ;;
        *) set -- "$@" "$argument" ;;
        esac
    done
    ;;
esac
exec "$compiler" "$@"
