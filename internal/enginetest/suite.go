// SPDX-License-Identifier: Apache-2.0

package enginetest

import (
	"testing"

	"github.com/dockershimd/dockershimd/adapter"
)

// Subject is an engine under test and the registry that it pulls from.
type Subject struct {
	adapter.Engine
	// Publish makes an image pullable until the test ends, and returns its
	// reference with a tag, and its digest. Serve does for a real engine.
	Publish func(t *testing.T, r Remote) (ref, digest string)
	// Busybox is the program that the containers run. StaticBusybox does for a
	// real engine; a fake may play it.
	Busybox []byte
}

// clauses are what an engine must do, from the plain to the rare.
var clauses = []struct {
	name  string
	check func(*bench)
}{
	{"SystemVersions", systemVersions},
	{"SystemInfo", systemInfo},
	{"SystemDiskUsage", systemDiskUsage},
	{"ContextCancelled", contextCancelled},
	{"ContextDeadline", contextDeadline},

	{"ContainerCreated", containerCreated},
	{"ContainerInheritsFromImage", containerInheritsFromImage},
	{"ContainerNames", containerNames},
	{"ContainerLabels", containerLabels},
	{"ContainerLookup", containerLookup},
	{"ContainerList", containerList},
	{"ContainerMissing", containerMissing},
	{"ContainerCreateRefused", containerCreateRefused},
	{"ContainerRemove", containerRemove},
	{"ContainerUpdate", containerUpdate},

	{"CopyFile", copyFile},
	{"CopyMissing", copyMissing},

	{"RunLifeCycle", runLifeCycle},
	{"RunRepeats", runRepeats},
	{"RunExitCode", runExitCode},
	{"RunCannotStart", runCannotStart},
	{"RunHostname", runHostname},

	{"JoinNetworkFiles", joinNetworkFiles},
	{"JoinAll", joinAll},
	{"JoinMissing", joinMissing},
	{"JoinStopped", joinStopped},

	{"ExecOutput", execOutput},
	{"ExecExitCodes", execExitCodes},
	{"ExecMissing", execMissing},
	{"ExecRefused", execRefused},
	{"ExecStartsOnce", execStartsOnce},
	{"ExecStopped", execStopped},
	{"ExecStdin", execStdin},
	{"ExecTerminal", execTerminal},
	{"ExecTerminalInputEnds", execTerminalInputEnds},
	{"ExecResize", execResize},
	{"ExecConsoleSize", execConsoleSize},
	{"ExecDetach", execDetach},
	{"ExecContextEnds", execContextEnds},
	{"ExecContainerEnds", execContainerEnds},
	{"ExecEvents", execEvents},

	{"AttachOutput", attachOutput},
	{"AttachStdin", attachStdin},
	{"AttachStdinStays", attachStdinStays},
	{"AttachTwo", attachTwo},
	{"AttachTerminal", attachTerminal},
	{"AttachDetach", attachDetach},
	{"AttachEnded", attachEnded},
	{"AttachRefused", attachRefused},
	{"AttachContextEnds", attachContextEnds},

	{"EventsOfOneLife", eventsOfOneLife},
	{"EventsAndState", eventsAndState},
	{"EventsReplay", eventsReplay},
	{"EventsReplayDepth", eventsReplayDepth},
	{"EventsWhileOpening", eventsWhileOpening},
	{"EventsFilters", eventsFilters},
	{"EventsOfImages", eventsOfImages},
	{"EventsEnd", eventsEnd},

	{"ImageLoad", imageLoad},
	{"ImageLoadBroken", imageLoadBroken},
	{"ImageLoadMovesTag", imageLoadMovesTag},
	{"ImageMissing", imageMissing},
	{"ImageRemoveTags", imageRemoveTags},
	{"ImageRemoveByID", imageRemoveByID},
	{"ImageInUse", imageInUse},

	{"PullTag", pullTag},
	{"PullDigest", pullDigest},
	{"PullMissing", pullMissing},
	{"PullCredentials", pullCredentials},
	{"PullBrokenLayer", pullBrokenLayer},
	{"PullCancelled", pullCancelled},
}

// Run checks every clause, each on what open returns for it: a new engine, or
// the same again.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	for _, c := range clauses {
		t.Run(c.name, func(t *testing.T) { c.check(newBench(t, open(t))) })
	}
}
