import pytest

from xcs_exporters.aws_batch.sizes import FargateSize, fargate_size, fargate_sizes, gpu_families, gpu_family, is_fargate_size


@pytest.mark.parametrize(
    ("cpu", "memory_mib", "expected"),
    [
        (0.25, 512, FargateSize("0.25", 512)),
        (0.1, 1, FargateSize("0.25", 512)),
        (0.3, 400, FargateSize("0.5", 1024)),
        (1, 512, FargateSize("1", 2048)),
        (1, 4000, FargateSize("1", 4096)),
        (0.25, 3000, FargateSize("0.5", 3072)),
        (3, 1000, FargateSize("4", 8192)),
        (8, 16385, FargateSize("8", 20480)),
        (32, 249856, FargateSize("32", 249856)),
        (33, 512, None),
        (1, 249857, None),
    ],
)
def test_the_next_size_up_is_taken(cpu, memory_mib, expected):
    assert fargate_size(cpu, memory_mib) == expected


def test_every_size_of_the_table_is_its_own_next_size():
    for vcpu, sizes in fargate_sizes().items():
        assert all(is_fargate_size(vcpu, str(size)) for size in sizes)
    assert fargate_size(16, 32768) == FargateSize("16", 32768)


@pytest.mark.parametrize(("vcpu", "memory"), [("0.3", "999"), ("1", "512"), ("1.0", "2048"), ("", ""), ("1", "2048.0")])
def test_other_pairs_are_no_sizes(vcpu, memory):
    assert not is_fargate_size(vcpu, memory)


def test_a_gpu_is_found_by_its_name_and_no_name_takes_the_default():
    assert gpu_family("nvidia-t4").family == "g4dn"
    assert gpu_family(None) == gpu_families()["nvidia-l4"]
    assert gpu_family("tpu") is None
