# SPDX-License-Identifier: Apache-2.0
# Of a repository of one's own:  spack repo create lejepa-repo lejepa, then
# spack repo add lejepa-repo/spack_repo/lejepa (before Spack 1.0: lejepa-repo), this file as
# packages/lejepa_mpi/package.py in it (packages/lejepa-mpi/ before Spack 1.0), and
#     spack dev-build --source-path PATH-OF-THIS-CHECKOUT lejepa-mpi@main
from spack.package import *  # noqa: F403

try:
    from spack_repo.builtin.build_systems.meson import MesonPackage
except ImportError:  # before Spack 1.0, spack.package has it
    pass


class LejepaMpi(MesonPackage):
    """LeJEPA pretraining of image encoders on CPU clusters: the same bits on any number of ranks,
    one small allreduce a step."""

    license("Apache-2.0")

    version("main")

    variant("mpi", default="auto", values=("auto", "openmpi", "mpich"), multi=False,
            description="MPI by name, where several are installed")

    depends_on("c", type="build")
    depends_on("meson@1:", type="build")
    depends_on("ninja", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("random123")
    depends_on("mpi")
    for library in ("hdf5", "blis threads=openmp", "onednn", "sleef", "libyaml", "jansson",
                    "xxhash", "libdeflate", "zlib-api", "hwloc", "netlib-lapack+lapacke"):
        depends_on(library)

    def setup_build_environment(self, env):
        env.set("CC", self.spec["mpi"].mpicc)

    def meson_args(self):
        spec = self.spec
        return [f"-Dmpi={spec.variants['mpi'].value}",
                f"-Dhdf5={spec['hdf5'].prefix}",
                f"-Dblis={spec['blis'].prefix}",
                f"-Donednn={spec['onednn'].prefix}",
                f"-Dlapacke={spec['netlib-lapack'].prefix}"]
