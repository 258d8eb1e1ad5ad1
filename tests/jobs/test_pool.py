from dataclasses import replace

import torch

from expunge.data.images import PIXEL_SAMPLE, TensorImages
from expunge.jobs.job import DataPart, ModelPart
from expunge.jobs.pool import PoolPlan
from expunge.jobs.train import TrainJob
from expunge.training import Recipe

JOB = TrainJob(model=ModelPart(architecture="cifar:resnet20"), data=DataPart(source="npz:here.npz"))
PLAN = PoolPlan(JOB, 4)


def draw_images(seed=0, count=2 * PIXEL_SAMPLE + 1):
    pixels = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return TensorImages([str(row) for row in range(count)], torch.arange(count) % 10, pixels)


def test_a_pool_is_found_again_wherever_its_images_lie_and_whatever_trains_it():
    moved = replace(JOB, data=DataPart(source="npz:there.npz"), device="cuda", batch_size=7, seed=3)
    assert PoolPlan(moved, 8).key(draw_images()) == PLAN.key(draw_images())


def test_other_images_rows_or_recipes_make_another_pool():
    images = draw_images()
    others = [
        PLAN.key(draw_images(seed=1)),
        PLAN.key(replace(images, labels=images.labels.flip(0))),
        PLAN.key(replace(images, ids=[f"{row}.png" for row in range(len(images.labels))])),
        PoolPlan(replace(JOB, recipe=Recipe(epochs=1)), 4).key(images),
        PoolPlan(replace(JOB, model=ModelPart(architecture="cifar:resnet32")), 4).key(images),
        PoolPlan(replace(JOB, train_rows=5), 4).key(images),
        PoolPlan(JOB, 4, (1, 2)).key(images),
    ]
    assert len({PLAN.key(images), *others}) == len(others) + 1
