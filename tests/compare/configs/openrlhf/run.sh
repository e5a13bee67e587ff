#!/bin/bash
set -x
MODEL=Qwen/Qwen2.5-0.5B-Instruct
SAMPLES=8

ray job submit --address="http://127.0.0.1:8265" \
   --runtime-env-json='{"working_dir": "/openrlhf"}' \
   -- python3 -m openrlhf.cli.train_ppo_ray \
   --actor.model_name_or_path $MODEL \
   --reward.remote_url my_reward.py \
   --data.prompt_dataset ${DATA} \
   --algo.advantage.estimator reinforce \
   --rollout.batch_size 16 \
   --rollout.n_samples_per_prompt ${SAMPLES} \
   --train.batch_size 64 \
   --rollout.max_new_tokens 32 \
   --reward.clip_range -5 5 \
   --actor.adam.lr 3e-4 \
   --actor.lr_scheduler constant \
   --actor.lr_warmup_ratio 0 \
   --ds.packing_samples | tee train.log
