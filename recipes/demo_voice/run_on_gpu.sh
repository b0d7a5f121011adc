#!/bin/bash
# One step of the recipe on a machine with an NVIDIA GPU and 16 CPU cores for each; README.md has the sequence.
#   run_on_gpu.sh corpus SECONDS | codec MINUTES | decoder MINUTES | language MINUTES | assemble FOLDER
# WORK holds what the steps make, TEACHER the teacher's files. `decoder` and `language` need what `codec` made, and can run
# side by side: on two GPUs (CUDA_VISIBLE_DEVICES chooses), or on one. What follows the minutes goes to the command.
set -u -o pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
WORK=${WORK:-/tmp/demo_voice}
TEACHER=${TEACHER:-teacher}
GPUS=$(nvidia-smi -L | wc -l)
export PYTHONPATH="$HERE/../..:${PYTHONPATH:-}" PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
# Several processes share a GPU well only under MPS.
export CUDA_MPS_PIPE_DIRECTORY=$WORK/mps CUDA_MPS_LOG_DIRECTORY=$WORK/mps_log
mkdir -p "$CUDA_MPS_PIPE_DIRECTORY" "$CUDA_MPS_LOG_DIRECTORY"
start_mps() { nvidia-cuda-mps-control -d; }
stop_mps() { echo quit | nvidia-cuda-mps-control; }

speak() { # VOICE PROCESSES SECONDS [OPTIONS]
  python3 -m recipes.demo_voice.corpus.speak --teacher "$TEACHER" --sentences "$HERE"/corpus/*sentences.jsonl.gz \
    --out "$WORK/spoken" --voice "$1" --processes "$2" --gpus "$GPUS" --seconds "$3" "${@:4}" >"$WORK/speak_$1.log" 2>&1
}

case ${1:-} in
corpus)
  start_mps
  # nora and theo take the sentences from opposite ends; two more voices teach the codec some breadth. theo speaks fast.
  speak af_heart $((6 * GPUS)) "$2" &
  speak am_puck $((6 * GPUS)) "$2" --backwards --pace 0.94 &
  speak af_bella 1 "$2" --seed 5 &
  speak am_michael 1 "$2" --seed 6 &
  wait
  stop_mps
  tail -n 2 "$WORK"/speak_*.log
  python3 -m recipes.demo_voice.corpus.build "$WORK/spoken" "$WORK/data"
  ;;
codec)
  python3 -m recipes.demo_voice.codec.train --data "$WORK/data" --out "$WORK/codec" --state "$WORK/state" --minutes "$2" "${@:3}" \
    2>&1 | tee "$WORK/codec.log"
  rm -rf "$WORK/codec_fixed"
  cp -r "$WORK/codec" "$WORK/codec_fixed" # the codes are fixed now
  ;;
decoder)
  python3 -m recipes.demo_voice.codec.train --data "$WORK/data" --out "$WORK/codec" --state "$WORK/state" --stage decoder \
    --batch 32 --crop-frames 6 --rate 3e-4 --last-rate 1e-5 --adversarial-from 0 --warm-up 100 --minutes "$2" "${@:3}" 2>&1 | tee "$WORK/decoder.log"
  ;;
language)
  python3 -m recipes.demo_voice.language.train --data "$WORK/data" --codec "$WORK/codec_fixed" --out "$WORK/lm" --minutes "$2" "${@:3}" \
    2>&1 | tee "$WORK/lm.log"
  ;;
assemble)
  mkdir -p "$2/codec"
  cp "$WORK"/lm/*.json "$WORK/lm/model.safetensors" "$2"
  cp "$WORK/codec/config.json" "$WORK/codec/model.safetensors" "$2/codec"
  ;;
*)
  grep '^#  ' "$0"
  exit 2
  ;;
esac
