// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/utils"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"
)

// Pod is what the network needs to know of a sandbox.
type Pod struct {
	// ID is the sandbox id; plugins see it as CNI_CONTAINERID.
	ID string
	// Namespace, Name and UID are the pod's, for CNI_ARGS.
	Namespace, Name, UID string
	// PID is the pause process, whose network namespace Attach pins.
	// Detach does not look at it.
	PID int
	// PortMappings with a zero HostPort are left out.
	PortMappings []*cri.PortMapping
	// DNS may be nil.
	DNS *cri.DNSConfig
	// Annotations are read for kubernetes.io/ingress-bandwidth and egress-bandwidth.
	Annotations map[string]string
}

// Config says where CNI's files are and what to do without a configuration.
type Config struct {
	// ConfDir holds CNI configurations, such as /etc/cni/net.d. It need not exist yet.
	ConfDir string
	// BinDirs are searched for plugins in this order.
	BinDirs []string
	// CacheDir holds libcni's results and our records. It must be ours alone:
	// Collect deletes every attachment in it whose sandbox does not exist.
	CacheDir string
	// NetnsDir holds the pinned network namespaces; "" means DefaultNetnsDir.
	NetnsDir string
	// PodCIDRs are the node's pod ranges, at most one per address family.
	// They may be unknown, until SetPodCIDRs.
	PodCIDRs []string
	// Default is "" or DefaultBridge: the configuration to use while ConfDir holds no valid one.
	Default string
	// HairpinMode lets a pod of the built-in bridge reach itself through its
	// own host port or service.
	HairpinMode bool
}

// DefaultNetnsDir is where ip-netns and most CNI add-ons look for namespaces.
const DefaultNetnsDir = "/var/run/netns"

// Validate reports all that is wrong with c at once, nil if nothing is.
func (c Config) Validate() error {
	var errs []error
	for _, d := range append([]string{c.ConfDir, c.CacheDir}, c.BinDirs...) {
		if !filepath.IsAbs(d) {
			errs = append(errs, fmt.Errorf("CNI directory %q: not an absolute path", d))
		}
	}
	if len(c.BinDirs) == 0 {
		errs = append(errs, errors.New("no directory of CNI plugins: name one, such as /opt/cni/bin"))
	}
	if c.NetnsDir != "" && !filepath.IsAbs(c.NetnsDir) {
		errs = append(errs, fmt.Errorf("network namespace directory %q: not an absolute path", c.NetnsDir))
	}
	if c.Default != "" && c.Default != DefaultBridge {
		errs = append(errs, fmt.Errorf("default network %q: only %q is built in", c.Default, DefaultBridge))
	}
	if _, err := parsePodCIDRs(c.PodCIDRs); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// limits are the times that no caller sets.
type limits struct {
	undo    time.Duration // undoing a failed Attach
	del     time.Duration // one Detach; below the two minutes a kubelet gives StopPodSandbox
	status  time.Duration // the STATUS of all plugins; Status has to answer, not to hang
	quiet   time.Duration // waiting until no plugin runs, so that GC may
	gc      time.Duration // GC itself, while pods wait
	abandon time.Duration // from the first failure of a Detach until it gives up
	poll    time.Duration // between looks at ConfDir, should the watch miss something
}

var defaultLimits = limits{
	undo:    time.Minute,
	del:     time.Minute,
	status:  10 * time.Second,
	quiet:   time.Minute,
	gc:      30 * time.Second,
	abandon: 2 * time.Minute,
	poll:    5 * time.Second,
}

// Network attaches sandboxes to the node's CNI network. Its methods may be
// called at the same time; plugins of one sandbox run one after another, those
// of different sandboxes never wait for each other.
type Network struct {
	config  Config
	limits  limits
	cni     *libcni.CNIConfig
	records recordDir
	netns   namespaces
	turns   *turns

	mu       sync.Mutex // guards what follows; nothing is waited for under it
	podCIDRs []netip.Prefix
	bridge   *libcni.NetworkConfigList // the built-in configuration; nil if not wanted
	choice   choice                    // what ConfDir holds
	recent   map[string]bool           // attached since the last Collect began
	failing  map[string]failure        // sandboxes whose Detach fails
}

// New returns a Network that has looked at c.ConfDir once. It is an error if c
// is not valid, but not if there is no CNI configuration: Status tells.
func New(c Config) (*Network, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.NetnsDir == "" {
		c.NetnsDir = DefaultNetnsDir
	}
	n := &Network{
		config:  c,
		limits:  defaultLimits,
		cni:     libcni.NewCNIConfigWithCacheDir(c.BinDirs, c.CacheDir, &pluginExec{}),
		records: recordDir(filepath.Join(c.CacheDir, "attachments")),
		netns:   &netnsDir{dir: c.NetnsDir},
		turns:   newTurns(),
		recent:  map[string]bool{},
		failing: map[string]failure{},
		choice:  choose(c.ConfDir, choice{}),
	}
	return n, n.SetPodCIDRs(c.PodCIDRs)
}

// Attach pins p's network namespace, brings its loopback up and runs ADD. It
// returns the pod's addresses, IPv4 first. After an error nothing is left of
// it, or, where a plugin's DEL fails too, the record from which Collect deletes
// the rest. A repeated Attach starts over.
func (n *Network) Attach(ctx context.Context, p Pod) ([]string, error) {
	if e := utils.ValidateContainerID(p.ID); e != nil {
		return nil, fmt.Errorf("attach sandbox %q: %w: %w", p.ID, e, errdefs.ErrInvalidArgument)
	}
	if err := n.turns.take(ctx, p.ID); err != nil {
		return nil, fmt.Errorf("attach sandbox %s: wait for its turn: %w", p.ID, err)
	}
	defer n.turns.done(p.ID)
	n.noteRecent(p.ID)
	addresses, err := n.attach(ctx, p)
	if err != nil {
		return nil, n.undoAttach(ctx, p.ID, fmt.Errorf("attach sandbox %s: %w", p.ID, err))
	}
	klog.FromContext(ctx).V(2).Info("sandbox attached", "sandbox", p.ID, "ips", addresses)
	return addresses, nil
}

// attach is Attach without its undoing.
func (n *Network) attach(ctx context.Context, p Pod) ([]string, error) {
	list, err := n.inUse()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, errdefs.ErrUnavailable)
	}
	a, err := n.attachment(ctx, p, list)
	if err != nil {
		return nil, err
	}
	// CNI forbids a second ADD without a DEL in between.
	if err := n.release(ctx, p.ID); err != nil {
		return nil, fmt.Errorf("delete what an earlier attempt left: %w", err)
	}
	if a.NetNS, err = n.netns.pin(p.ID, p.PID); err != nil {
		return nil, err
	}
	if err := n.netns.raiseLoopback(a.NetNS); err != nil {
		return nil, err
	}
	if err := n.records.write(a); err != nil {
		return nil, err
	}
	result, err := n.cni.AddNetworkList(ctx, list, runtimeConf(a))
	if err != nil {
		return nil, fmt.Errorf("network %s: %w: %w", list.Name, err, errdefs.ErrInternal)
	}
	addresses, err := resultAddresses(result)
	if err != nil {
		return nil, fmt.Errorf("network %s: %w", list.Name, err)
	}
	return addresses, nil
}

// undoAttach removes what a failed Attach left and returns cause. The caller's
// context may be what ended it, so the undoing has its own limit.
func (n *Network) undoAttach(ctx context.Context, id string, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.limits.undo)
	defer cancel()
	if err := errors.Join(n.release(ctx, id), n.netns.unpin(id)); err != nil {
		return fmt.Errorf("%w; and undoing it: %v", cause, err)
	}
	return cause
}

// Path returns where the network namespace of sandbox id is pinned, or "" if it
// is not.
func (n *Network) Path(id string) string { return n.netns.path(id) }
