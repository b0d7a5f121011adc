#!/bin/bash
# One step of the recipe on a machine with an NVIDIA GPU and 16 CPU cores; README.md has the sequence.
#   run_on_gpu.sh corpus SECONDS | codec MINUTES | language MINUTES | assemble FOLDER
# WORK holds what the steps make, TEACHER the teacher's files.
set -u -o pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
WORK=${WORK:-/tmp/demo_voice}
TEACHER=${TEACHER:-teacher}
export PYTHONPATH="$HERE:$HERE/../..:${PYTHONPATH:-}" PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1
# Several processes share a GPU well only under MPS.
export CUDA_MPS_PIPE_DIRECTORY=$WORK/mps CUDA_MPS_LOG_DIRECTORY=$WORK/mps_log
mkdir -p "$CUDA_MPS_PIPE_DIRECTORY" "$CUDA_MPS_LOG_DIRECTORY"
start_mps() { nvidia-cuda-mps-control -d; }
stop_mps() { echo quit | nvidia-cuda-mps-control; }

speak() { # VOICE PROCESSES SECONDS [OPTIONS]
  python3 "$HERE/speak_corpus.py" --teacher "$TEACHER" --sentences "$HERE/sentences.jsonl.gz" --out "$WORK/spoken" \
    --voice "$1" --processes "$2" --seconds "$3" "${@:4}" >"$WORK/speak_$1.log" 2>&1
}

case ${1:-} in
corpus)
  start_mps
  # nora and theo take the sentences from opposite ends; two more voices teach the codec some breadth.
  speak af_heart 7 "$2" &
  speak am_puck 7 "$2" --backwards &
  speak af_bella 1 "$2" --seed 5 &
  speak am_michael 1 "$2" --seed 6 &
  wait
  stop_mps
  tail -n 2 "$WORK"/speak_*.log
  python3 "$HERE/build_corpus.py" "$WORK/spoken" "$WORK/data"
  ;;
codec)
  python3 "$HERE/train_codec.py" --data "$WORK/data" --out "$WORK/codec" --state "$WORK/state" --minutes "$2" "${@:3}" \
    2>&1 | tee "$WORK/codec.log"
  ;;
language)
  # The codes are fixed now: the language model and the last polish of the decoder share the GPU.
  start_mps
  rm -rf "$WORK/codec_fixed"
  cp -r "$WORK/codec" "$WORK/codec_fixed"
  python3 "$HERE/train_codec.py" --data "$WORK/data" --out "$WORK/codec" --state "$WORK/state" --stage decoder \
    --minutes "$2" --adversarial-from 0 --rate 2e-4 --last-rate 1e-5 --warm-up 50 >"$WORK/decoder.log" 2>&1 &
  python3 "$HERE/train_lm.py" --data "$WORK/data" --codec "$WORK/codec_fixed" --out "$WORK/lm" --minutes "$2" "${@:3}" \
    2>&1 | tee "$WORK/lm.log"
  wait
  stop_mps
  tail -n 3 "$WORK/decoder.log"
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
