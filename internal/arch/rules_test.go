// SPDX-License-Identifier: Apache-2.0

package arch

import "regexp"

// arrows says which of our packages a package of the daemon may import. One
// that has no row is a decision that nobody has taken yet.
var arrows = map[string][]string{
	"cmd/dockershimd":    {"adapter", "adapter/staging", "network", "logs", "stats", "streaming"},
	"adapter":            {"adapter/cgroup", "adapter/pauseimage", "adapter/proctree", "adapter/staging", "translate", "network", "logs", "stats"},
	"adapter/cgroup":     {},
	"adapter/pauseimage": {},
	"adapter/proctree":   {},
	"adapter/staging":    {},
	"translate":          {},
	"network":            {},
	"streaming":          {},
	"logs":               {},
	"stats":              {},
}

// importers says who, of the daemon, may import what from other modules: a
// package or a single file. The longest row that fits an import decides, and
// an import without a row is nobody's. Tests and internal packages are free to
// import any of them.
var importers = map[string][]string{
	// CRI is the language of the house.
	"k8s.io/cri-api":                {"cmd/dockershimd", "adapter", "adapter/cgroup", "translate", "network", "streaming", "logs", "stats"},
	"github.com/containerd/errdefs": {"cmd/dockershimd", "adapter", "adapter/cgroup", "adapter/pauseimage", "adapter/proctree", "adapter/staging", "translate", "network", "streaming", "logs", "stats"},
	"k8s.io/klog/v2":                {"cmd/dockershimd", "adapter", "network", "streaming", "logs", "stats"},
	"golang.org/x/sync":             {"cmd/dockershimd", "adapter", "network", "streaming", "logs", "stats"},

	// Docker's types stay with the translator and its carrier, so that another
	// client can take the place of this one; its calls are in one file.
	"github.com/docker/docker":             {},
	"github.com/docker/docker/api/types":   {"adapter", "translate"},
	"github.com/docker/docker/client":      {"adapter/engine.go"},
	"github.com/docker/docker/pkg/stdcopy": {"adapter/stdio.go"},
	"github.com/opencontainers/image-spec": {"adapter", "translate"},
	"github.com/distribution/reference":    {"adapter", "translate"},

	// What a container is, beyond Docker: names, numbers and formats.
	"github.com/opencontainers/runtime-spec":           {"adapter", "translate"},
	"tags.cncf.io/container-device-interface":          {"adapter/container_cdi.go"},
	"tags.cncf.io/container-device-interface/specs-go": {"translate"},
	"github.com/moby/sys/capability":                   {"translate"},
	"github.com/moby/sys/user":                         {"translate"},

	// gRPC is the edge's: a code is chosen in one place.
	"google.golang.org/grpc":       {"cmd/dockershimd", "adapter"},
	"google.golang.org/grpc/codes": {"adapter/errors.go", "adapter/edge.go"},
	"google.golang.org/protobuf":   {"adapter", "translate"},

	// The protocols of exec, attach and port-forward, and what they are made of.
	// The adapter takes the sizes of a terminal from there.
	"k8s.io/cri-streaming":                             {"streaming"},
	"k8s.io/cri-streaming/pkg/streaming/remotecommand": {"streaming", "adapter"},
	"k8s.io/streaming":                                 {"streaming"},
	"k8s.io/utils/exec":                                {"streaming"},
	"github.com/moby/spdystream/spdy":                  {"streaming"},
	"golang.org/x/net/websocket":                       {"streaming"},

	// What touches the kernel, the disk and the service manager.
	"github.com/containernetworking/cni":    {"network"},
	"github.com/vishvananda/netlink":        {"network", "stats"},
	"github.com/vishvananda/netns":          {"network"},
	"github.com/fsnotify/fsnotify":          {"network", "logs"},
	"github.com/moby/sys/mountinfo":         {"adapter", "adapter/cgroup", "adapter/staging"},
	"github.com/cyphar/filepath-securejoin": {"adapter/staging"},
	"github.com/opencontainers/selinux":     {"adapter/container_relabel.go"},
	"github.com/coreos/go-systemd/v22/dbus": {"adapter/cgroup"},
	"github.com/godbus/dbus/v5":             {"adapter/cgroup"},
	"golang.org/x/sys":                      {"cmd/dockershimd", "adapter", "adapter/cgroup", "adapter/proctree", "adapter/staging", "network", "streaming", "logs", "stats"},
	"github.com/coreos/go-systemd/v22":      {"cmd/dockershimd"},
	"github.com/spf13/cobra":                {"cmd/dockershimd"},
	"github.com/spf13/pflag":                {"cmd/dockershimd"},

	// For tests only: no row lets the daemon import it.
	"github.com/google/go-containerregistry": {},
	"golang.org/x/net":                       {},
}

// pure is what translate may import from the standard library: nothing that
// reads, writes, waits, tells the time or draws lots.
var pure = []string{
	"bytes", "cmp", "crypto/sha256", "encoding/base64", "encoding/binary", "encoding/hex", "encoding/json", "errors", "fmt",
	"hash/fnv", "iter", "maps", "math", "net/netip", "path", "reflect", "regexp", "slices", "sort", "strconv", "strings",
	"time", "unicode", "unicode/utf8",
}

// names are the names that some imports have everywhere, so that a reader meets
// one word for one thing.
var names = map[string]string{
	"k8s.io/cri-api/pkg/apis/runtime/v1": "cri",
}

// replaced are packages that the daemon has another for.
var replaced = map[string]string{
	"github.com/docker/docker/errdefs": "github.com/containerd/errdefs",
	"log":                              "k8s.io/klog/v2",
	"log/slog":                         "k8s.io/klog/v2",
}

// ban is a function that only some places may call.
type ban struct {
	from    string         // import path of the function's package
	names   *regexp.Regexp // the functions
	allowed func(source, string) bool
	reason  string
}

// bans are the calls that belong in one place. A place is a file and the
// function declared at its top level around the call.
var bans = []ban{
	{"os", regexp.MustCompile(`^Exit$`), inMainOrTest, "only main exits: elsewhere deferred work would be lost"},
	{"k8s.io/klog/v2", regexp.MustCompile(`^(Fatal|Exit)`), nowhere, "only main exits, and it says why itself"},
	{"k8s.io/klog/v2", regexp.MustCompile(`^(Info|Warning|Error|V$)`), nowhere, "the logger comes from the context: klog.FromContext(ctx)"},
	{"context", regexp.MustCompile(`^(Background|TODO)$`), inCommandOrTest, "a context comes from the caller, so that its deadline and its end reach every call"},
	{"time", regexp.MustCompile(`^Sleep$`), nowhere, "wait on something that happens"},
	{"time", regexp.MustCompile(`^(Now|Since|Until|After|AfterFunc|Tick|NewTimer|NewTicker)$`), notInTranslate, "translation has no clock"},
}

func nowhere(source, string) bool { return false }

func inMainOrTest(s source, function string) bool {
	return s.file.Name.Name == "main" && function == "main" || s.test()
}

func inCommandOrTest(s source, _ string) bool { return within(s.path, "cmd") || !s.daemon() }

func notInTranslate(s source, _ string) bool { return s.folder() != "translate" || s.test() }

// forbidden modules are never linked into the daemon, not even by way of another.
var forbidden = map[string]string{
	"k8s.io/kubernetes":          "the Kubernetes monorepo is not a library",
	"k8s.io/client-go":           "the daemon never talks to the API server",
	"k8s.io/apiserver":           "the daemon never talks to the API server",
	"github.com/sirupsen/logrus": "a second logger",
	"go.uber.org/zap":            "a second logger",
	"github.com/golang/glog":     "a second logger",
	"github.com/rs/zerolog":      "a second logger",
	"github.com/containerd/log":  "a second logger, over logrus",
}
