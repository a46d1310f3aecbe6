# %% [markdown]
# # Evolving a merge from Python
#
# Needs a coordinator with at least one worker (`./dev cluster --observe` prints the address of one) and
# `pip install './client/python[pandas]'`. Every `# %%` is a cell for Jupyter, VS Code or Spyder; as a script it runs too:
# `python client/python/examples/evolve.py SERVER JOB.yaml OUT`.

# %%
import sys

import merganser

server, job_file, out = (sys.argv[1:4] if len(sys.argv) >= 4 else ("127.0.0.1:50051", "examples/ja-math/job.yaml", "out/evolve"))
client = merganser.Client(server)
print(len([w for w in client.workers() if w.state in ("idle", "busy")]), "workers")

# %% Submit, and watch until it ends
job = client.submit(job_file)
shown = -1
for update in job.watch():
    if update.state == "search" and update.message.generation != shown:
        shown = update.message.generation
        print(f"generation {shown + 1}: {update.done} done, best {update.best if update.best is not None else '-'}")
job.wait()
print(job)

# %% Every candidate: fitness, metrics, genome
frame = job.candidates_frame()
print(frame.groupby("generation")["fitness"].agg(["count", "mean", "max"]))
print(frame.nlargest(3, "fitness")[["generation", "fitness", "seconds"]])

# %% The baselines, and the held-out scores of the sources, their average and the winner
print(job.candidates_frame(kind="source")[["label", "fitness"]])
print(job.candidates_frame(kind="held_out").drop(columns=["fitness", "generation"]).dropna(axis=1, how="all"))

# %% What the winner answered, wrong answers first
samples = job.samples_frame(job.best.number)
print(samples.sort_values("correct")[["question", "prediction", "answer", "correct"]].head())

# %% The winner as a checkpoint
print("written to", job.export(out, overwrite=True))
