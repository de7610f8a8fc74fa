// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// samePod compares a sandbox's status with what was asked for.
func samePod(asked *cri.PodSandboxConfig, got *cri.PodSandboxStatus) error {
	return errors.Join(
		sameMessage("metadata", asked.GetMetadata(), got.GetMetadata()),
		sameMap("labels", asked.GetLabels(), got.GetLabels()),
		sameMap("annotations", asked.GetAnnotations(), got.GetAnnotations()),
		sameText("network", namespaces(asked).GetNetwork(), got.GetLinux().GetNamespaces().GetOptions().GetNetwork()),
		sameText("IPC", namespaces(asked).GetIpc(), got.GetLinux().GetNamespaces().GetOptions().GetIpc()),
		sameText("state", cri.PodSandboxState_SANDBOX_READY, got.GetState()),
	)
}

// sameContainer compares a container's status with what was asked for.
func sameContainer(asked *cri.ContainerConfig, got *cri.ContainerStatus) error {
	byPath := func(a, b *cri.Mount) int { return strings.Compare(a.GetContainerPath(), b.GetContainerPath()) }
	askedMounts, gotMounts := slices.SortedFunc(slices.Values(asked.GetMounts()), byPath), slices.SortedFunc(slices.Values(got.GetMounts()), byPath)
	errs := []error{
		sameMessage("metadata", asked.GetMetadata(), got.GetMetadata()),
		sameMap("labels", asked.GetLabels(), got.GetLabels()),
		sameMap("annotations", asked.GetAnnotations(), got.GetAnnotations()),
		differ(asked.GetLinux().GetResources(), got.GetResources().GetLinux()),
		sameUser(asked.GetLinux().GetSecurityContext(), got.GetUser().GetLinux()),
		sameSignal(asked.GetStopSignal(), got.GetStopSignal()),
	}
	if !strings.HasSuffix(got.GetLogPath(), string(filepath.Separator)+asked.GetLogPath()) {
		errs = append(errs, fmt.Errorf("log path is %q, want one that ends in %q", got.GetLogPath(), asked.GetLogPath()))
	}
	if !slices.EqualFunc(askedMounts, gotMounts, sameMount) {
		errs = append(errs, fmt.Errorf("mounts are %v, want %v", gotMounts, askedMounts))
	}
	if got.GetImageRef() == "" || got.GetImage().GetImage() == "" {
		errs = append(errs, fmt.Errorf("image is %v, reference %q", got.GetImage(), got.GetImageRef()))
	}
	return errors.Join(errs...)
}

func sameMessage(what string, asked, got proto.Message) error {
	if proto.Equal(asked, got) {
		return nil
	}
	return fmt.Errorf("%s is %v, want %v", what, got, asked)
}

func sameText(what string, asked, got any) error {
	if fmt.Sprint(asked) == fmt.Sprint(got) {
		return nil
	}
	return fmt.Errorf("%s is %v, want %v", what, got, asked)
}

func sameMap(what string, asked, got map[string]string) error {
	var errs []error
	for key, want := range asked {
		if value, ok := got[key]; !ok || value != want {
			errs = append(errs, fmt.Errorf("%s have %.100q of %.100q, want %.100q", what, value, key, want))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if _, ok := asked[key]; !ok {
			errs = append(errs, fmt.Errorf("%s have %.100q, which nobody asked for", what, key))
		}
	}
	return errors.Join(errs...)
}

// sameUser compares what was asked for in numbers, where a status tells users at
// all.
func sameUser(asked *cri.LinuxContainerSecurityContext, got *cri.LinuxContainerUser) error {
	var errs []error
	if user := asked.GetRunAsUser(); user != nil && got != nil {
		errs = append(errs, sameText("user", user.GetValue(), got.GetUid()))
	}
	if group := asked.GetRunAsGroup(); group != nil && got != nil {
		errs = append(errs, sameText("group", group.GetValue(), got.GetGid()))
	}
	if got != nil {
		for _, group := range asked.GetSupplementalGroups() {
			if !slices.Contains(got.GetSupplementalGroups(), group) {
				errs = append(errs, fmt.Errorf("groups are %v, without %d", got.GetSupplementalGroups(), group))
			}
		}
	}
	return errors.Join(errs...)
}

// synonyms are signals with two names.
var synonyms = map[cri.Signal]cri.Signal{
	cri.Signal_SIGNAL_SIGCLD:          cri.Signal_SIGNAL_SIGCHLD,
	cri.Signal_SIGNAL_SIGIOT:          cri.Signal_SIGNAL_SIGABRT,
	cri.Signal_SIGNAL_SIGPOLL:         cri.Signal_SIGNAL_SIGIO,
	cri.Signal_SIGNAL_RUNTIME_DEFAULT: cri.Signal_SIGNAL_SIGTERM,
}

// sameSignal leaves it to the runtime which name it gives.
func sameSignal(asked, got cri.Signal) error {
	plain := func(s cri.Signal) cri.Signal {
		if other, ok := synonyms[s]; ok {
			return other
		}
		return s
	}
	return sameText("stop signal", plain(asked), plain(got))
}
