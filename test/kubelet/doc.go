// SPDX-License-Identifier: Apache-2.0

// Package kubelet tests what kubelets ask of a container runtime and critest
// does not look at. It speaks CRI and looks at the node itself, /proc, cgroups
// and links, so that it judges any runtime: it knows nothing of Docker, and
// imports nothing of this module.
//
// What a runtime or a node cannot do must be refused, with a code that says
// whose fault it is and a message that names the field. Then the tests check
// that: see wantRefusal.
//
// It needs root, and a runtime in the same mount, PID and network namespaces.
// In the rig of test/engine/with-engine.sh it starts dockershimd beside the
// engine; elsewhere CRI_ENDPOINT names a socket; without either it skips itself.
//
//	CRI_ENDPOINT  the runtime's socket, unix:///run/containerd/containerd.sock
//	IMAGE         the image of the test containers, such as busybox. Without it a registry
//	              in the test process serves one by plain HTTP on 127.0.0.1; tests that need images
//	              of their own are skipped with it
//	CNI_CONF_DIR  where the runtime looks for CNI configurations; the tests of dual stack write there
//	CDI_SPEC_DIR  where it looks for CDI specifications, /var/run/cdi if not set
//	CGROUP_PARENT the cgroup for the pods' cgroups; without it they are the runtime's to place
//	DOCKERSHIMD   the program to start in the rig instead of bin/dockershimd
//	REFUSALS      any: a refusal may have any code and message, as most runtimes give codes.Unknown
//	SEED          the seed of the random configurations, to repeat a run
//	PATIENCE      how many times longer than usual to wait, such as 20x
//
// The runtime must be idle but for the suite, which looks at the end of each test
// that no object, mount, link, address or firewall rule is left.
//
// The files main, daemon, client, registry, image_files, pod, container, cgroup,
// netns, refusal, same, sctp, generator, balance and wait are the bench; each of the
// others tests one subject.
package kubelet
