// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/utils"
)

// attachments lists what plugins may hold for sandbox id, or for every sandbox
// if id is "": what libcni has cached, by us or by an older shim, and what our
// records add to that, because an ADD was cut short or the cached entry is
// unreadable. An error comes along with all that could be read.
func (n *Network) attachments(id string) ([]*libcni.NetworkAttachment, error) {
	found, cacheErr := n.cni.GetCachedAttachments(id)
	recorded, recordErr := n.records.read(id)
	for _, r := range recorded {
		same := func(a *libcni.NetworkAttachment) bool {
			return a.ContainerID == r.ContainerID && a.Network == r.Network && a.IfName == r.IfName
		}
		if !slices.ContainsFunc(found, same) {
			found = append(found, r)
		}
	}
	return found, errors.Join(cacheErr, recordErr)
}

// release runs DEL for all attachments of id, and forgets them if that succeeds.
// It is id's turn.
func (n *Network) release(ctx context.Context, id string) error {
	if utils.ValidateContainerID(id) != nil { // such a sandbox was never attached
		return nil
	}
	found, err := n.attachments(id)
	errs := []error{err}
	for _, a := range found {
		errs = append(errs, n.delete(ctx, a))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return n.records.remove(id)
}

// delTries: after an ADD that was cut off, the bridge plugin's first DEL fails
// at rules that were never made, but removes what there is; the second succeeds.
const delTries = 2

// delete runs DEL for a, with the configuration and the arguments of its ADD.
// libcni adds the cached result, and drops it from its cache afterwards.
func (n *Network) delete(ctx context.Context, a *libcni.NetworkAttachment) error {
	list, err := libcni.NetworkConfFromBytes(a.Config)
	if err != nil {
		return fmt.Errorf("network %s: %w", a.Network, err)
	}
	rt := runtimeConf(a)
	rt.NetNS = n.reachable(a)
	for range delTries {
		if err = n.cni.DelNetworkList(ctx, list, rt); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("network %s: %w: %w", a.Network, err, errdefs.ErrInternal)
	}
	return nil
}

// reachable returns the path by which plugins can enter a's namespace, or "" if
// it is gone. CNI lets DEL do without; a wrong namespace would lose its eth0.
func (n *Network) reachable(a *libcni.NetworkAttachment) string {
	if path := n.netns.path(a.ContainerID); path != "" {
		return path
	}
	if processOf(a.ContainerID, a.NetNS) {
		return a.NetNS
	}
	return ""
}

func runtimeConf(a *libcni.NetworkAttachment) *libcni.RuntimeConf {
	return &libcni.RuntimeConf{
		ContainerID:    a.ContainerID,
		NetNS:          a.NetNS,
		IfName:         a.IfName,
		Args:           a.CniArgs,
		CapabilityArgs: a.CapabilityArgs,
	}
}

// resultAddresses returns the addresses of an ADD, IPv4 first and else in the
// plugin's order. None is an error: a pod without an address cannot be reached,
// and the kubelet would start it anew for ever.
func resultAddresses(result types.Result) ([]string, error) {
	if result == nil { // a Detach was faster
		return nil, errors.New("there is no result")
	}
	r, err := types100.NewResultFromResult(result)
	if err != nil {
		return nil, fmt.Errorf("read the plugin's result: %w", err)
	}
	var v4, v6 []string
	for _, ip := range r.IPs {
		address, ok := netip.AddrFromSlice(ip.Address.IP)
		switch address = address.Unmap(); {
		case !ok:
			return nil, errors.New("the plugin's result has a malformed address")
		case address.Is4():
			v4 = append(v4, address.String())
		default:
			v6 = append(v6, address.String())
		}
	}
	if len(v4)+len(v6) == 0 {
		return nil, errors.New("the plugins gave the pod no address; check the IPAM section of the CNI configuration")
	}
	return append(v4, v6...), nil
}

// recordDir holds one file per sandbox from before its ADD until after its DEL.
// libcni writes its cache only after ADD, and not atomically: without a record,
// what a plugin did before we were killed would never be undone.
type recordDir string

func (d recordDir) file(id string) string { return filepath.Join(string(d), id) }

func (d recordDir) unfinished(id string) string { return d.file("." + id) }

// write stores a so that it survives a loss of power as well: the addresses of
// host-local do.
func (d recordDir) write(a *libcni.NetworkAttachment) error {
	if err := d.replace(a); err != nil {
		return fmt.Errorf("record the attachment: %w", err)
	}
	return nil
}

func (d recordDir) replace(a *libcni.NetworkAttachment) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return err
	}
	unfinished := d.unfinished(a.ContainerID)
	f, err := os.OpenFile(unfinished, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(unfinished, d.file(a.ContainerID))
}

// read returns the record of sandbox id, or all if id is "", with an error for
// those that are unreadable.
func (d recordDir) read(id string) ([]*libcni.NetworkAttachment, error) {
	ids := []string{id}
	if id == "" {
		entries, err := os.ReadDir(string(d))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("list recorded attachments: %w", err)
		}
		ids = nil
		for _, e := range entries {
			if utils.ValidateContainerID(e.Name()) == nil { // not an unfinished one
				ids = append(ids, e.Name())
			}
		}
	}
	var found []*libcni.NetworkAttachment
	var errs []error
	for _, id := range ids {
		a := new(libcni.NetworkAttachment)
		text, err := os.ReadFile(d.file(id))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = json.Unmarshal(text, a)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("recorded attachment %s: %w", d.file(id), err))
			continue
		}
		found = append(found, a)
	}
	return found, errors.Join(errs...)
}

// remove forgets a sandbox, and what a write that was cut off has left.
func (d recordDir) remove(id string) error {
	for _, file := range []string{d.unfinished(id), d.file(id)} {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget the attachment: %w", err)
		}
	}
	return nil
}
