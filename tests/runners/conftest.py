"""A scheduler and two workers of Dask, in real processes on this machine."""

import pytest
from dask_cluster import start_cluster


@pytest.fixture
def cluster(started_cluster):
    """The cluster with both workers: a test before may have ended one, which Dask starts again."""
    started_cluster.client.wait_for_workers(2, timeout=60)
    return started_cluster


@pytest.fixture(scope="session")
def started_cluster(tmp_path_factory):
    with start_cluster(tmp_path_factory.mktemp("cluster"), workers=2) as cluster:
        yield cluster
