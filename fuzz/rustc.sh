#!/bin/sh
# Starts the compiler. What computes with frames that were read reads nothing itself: counters there would cost a
# build many minutes and lead libFuzzer astray.
compiler=$1
shift
case " $* " in
*" --crate-name polars_core "* | *" --crate-name polars_ops "* | *" --crate-name polars_expr "* | \
  *" --crate-name polars_plan "* | *" --crate-name polars_lazy "* | *" --crate-name polars_stream "* | \
  *" --crate-name polars_sql "* | *" --crate-name polars_time "* | *" --crate-name polars_mem_engine "* | \
  *" --crate-name polars_ooc "* | *" --crate-name polars_async "* | *" --crate-name polars "* | *" --crate-name xet_"*)
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
