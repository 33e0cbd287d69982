package brokers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/internal/netns"
)

// NATSOptions say what a NATS server asks of its clients, and how it stores. The zero value asks for nothing.
type NATSOptions struct {
	TLS *TLS
	// Users that may connect; nobody else may then.
	Users []NATSUser
	// SyncAlways writes to the disk before each acknowledgement; servers before 2.10 do not know it.
	SyncAlways bool
	// NoJetStream leaves the storage out.
	NoJetStream bool
	// MaxFile is how many bytes JetStream may store on each server; 0 is 256 GiB, for a cluster refuses to take up again
	// streams whose limits together are over it, however empty they are.
	MaxFile int64
	// Paths is how many ways of their own there are beside the direct one. Servers tell their clients nothing of each
	// other then, for the addresses would lead around the cutters.
	Paths int
	// Config is added to each server's configuration as it is, such as an operator with its resolver.
	Config string
}

// NATSUser is a user with a password, or with the public part of an nkey.
type NATSUser struct {
	Name, Password, NKey string
	// Publish and Subscribe list the subjects that are allowed; both nil is everything. Answers to requests are allowed.
	Publish, Subscribe []string
}

// NATSCluster is one server, or several with JetStream replicated between them.
type NATSCluster struct {
	Nodes []*Node
	// Paths as asked for in the options.
	Paths []*Path
	// URLs of the nodes, nats:// or tls://.
	URLs []string

	monitors []string // host:port of each node's HTTP port.
}

// NATS runs n servers, 1 or 3, of the version in go.mod.
func NATS(t testing.TB, n int, options ...NATSOptions) *NATSCluster {
	t.Helper()
	binary, err := cached("nats-server-"+natsVersion(t), func(path string) error {
		out, err := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, natsModule).CombinedOutput()
		if err != nil {
			return fmt.Errorf("build %s: %w\n%s", natsModule, err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return natsCluster(t, binary, n, options)
}

// OldNATS runs one server of Debian's package, 2.9.
func OldNATS(t testing.TB, options ...NATSOptions) *NATSCluster {
	t.Helper()
	const binary = "/usr/sbin/nats-server"
	if _, err := os.Stat(binary); err != nil {
		netns.Missing(t, binary+" (Debian package nats-server)")
	}
	return natsCluster(t, binary, 1, options)
}

const natsModule = "github.com/nats-io/nats-server/v2"

func natsVersion(t testing.TB) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Version}}", natsModule).Output()
	if err != nil {
		t.Fatalf("ask go for the version of %s: %v", natsModule, err)
	}
	return strings.TrimSpace(string(out))
}

func natsCluster(t testing.TB, binary string, n int, options []NATSOptions) *NATSCluster {
	t.Helper()
	var o NATSOptions
	for _, o = range options { // There is one, or none.
	}
	c := &NATSCluster{}
	scheme := "nats"
	if o.TLS != nil {
		scheme = "tls"
	}
	var routes, addrs []string
	for range n {
		addrs, routes, c.monitors = append(addrs, Address(t)), append(routes, Address(t)), append(c.monitors, Address(t))
	}
	c.URLs = urls(scheme, addrs)
	for range o.Paths {
		c.Paths = append(c.Paths, newPath(t, scheme, addrs))
	}
	root := t.TempDir()
	for i := range n {
		node := &Node{
			t: t, Name: fmt.Sprintf("n%d", i+1), Addr: addrs[i],
			Dir: filepath.Join(root, fmt.Sprintf("n%d", i+1)), log: filepath.Join(root, fmt.Sprintf("n%d.log", i+1)),
			ready: func(ctx context.Context) error { return c.healthy(ctx, i) },
		}
		config := filepath.Join(root, node.Name+".conf")
		if err := os.WriteFile(config, []byte(natsConfig(t, o, node, c.monitors[i], routes[i], routes)), 0o600); err != nil {
			t.Fatal(err)
		}
		node.argv = []string{binary, "-c", config}
		c.Nodes = append(c.Nodes, node)
	}
	run(t, c.Nodes)
	if n > 1 && !o.NoJetStream {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := poll(ctx, func() error { return c.whole(ctx) }); err != nil {
			t.Fatalf("the cluster is not whole: %v", err)
		}
	}
	return c
}

// natsConfig writes the configuration of one server.
func natsConfig(t testing.TB, o NATSOptions, n *Node, monitor, route string, routes []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "server_name: %q\nlisten: %q\nhttp: %q\n", n.Name, n.Addr, monitor)
	if !o.NoJetStream {
		maxFile := o.MaxFile
		if maxFile == 0 {
			maxFile = 256 << 30
		}
		sync := ""
		if o.SyncAlways {
			sync = ", sync_interval: always"
		}
		fmt.Fprintf(&b, "jetstream { store_dir: %q, max_mem: 268435456, max_file: %d%s }\n", n.Dir, maxFile, sync)
	}
	if len(routes) > 1 {
		var all []string
		for _, r := range routes {
			all = append(all, fmt.Sprintf("%q", "nats-route://"+r))
		}
		fmt.Fprintf(&b, "cluster { name: test, listen: %q, no_advertise: %t, routes: [%s] }\n", route, o.Paths > 0, strings.Join(all, ", "))
	}
	if o.TLS != nil {
		cert, key := o.TLS.CA.Issue(t, o.TLS.Cert)
		fmt.Fprintf(&b, "tls { cert_file: %q, key_file: %q, ca_file: %q, verify: %t }\n", cert, key, o.TLS.CA.File, o.TLS.Clients)
	}
	if len(o.Users) > 0 {
		b.WriteString("authorization { users: [\n")
		for _, u := range o.Users {
			who := fmt.Sprintf("user: %q, password: %q", u.Name, u.Password)
			if u.NKey != "" {
				who = fmt.Sprintf("nkey: %q", u.NKey)
			}
			rights := ""
			if u.Publish != nil || u.Subscribe != nil {
				rights = fmt.Sprintf(", permissions: {publish: {allow: %s}, subscribe: {allow: %s}, allow_responses: true}", list(u.Publish), list(u.Subscribe))
			}
			fmt.Fprintf(&b, "  {%s%s}\n", who, rights)
		}
		b.WriteString("] }\n")
	}
	return b.String() + o.Config + "\n"
}

func list(subjects []string) string {
	var all []string
	for _, s := range subjects {
		all = append(all, fmt.Sprintf("%q", s))
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// Leader is the node that leads a stream, by its name in the default account; nil while there is none, or when nobody
// who runs knows.
func (c *NATSCluster) Leader(stream string) *Node {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for i, n := range c.Nodes {
		if !n.Alive() {
			continue
		}
		var all jsz
		if c.ask(ctx, i, "/jsz?accounts=true&streams=true", &all) != nil {
			continue
		}
		for _, a := range all.Accounts {
			for _, s := range a.Streams {
				if s.Name == stream && s.Cluster.Leader != "" {
					return c.named(s.Cluster.Leader)
				}
				if s.Name == stream && len(c.Nodes) == 1 {
					return n
				}
			}
		}
	}
	return nil
}

// MetaLeader is the node that places streams and consumers; nil while there is none.
func (c *NATSCluster) MetaLeader() *Node {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for i, n := range c.Nodes {
		var all jsz
		if n.Alive() && c.ask(ctx, i, "/jsz", &all) == nil && all.Meta.Leader != "" {
			return c.named(all.Meta.Leader)
		}
	}
	return nil
}

func (c *NATSCluster) named(name string) *Node {
	for _, n := range c.Nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// jsz is what a server's monitor says of JetStream, as far as it matters here.
type jsz struct {
	Meta struct {
		Leader string `json:"leader"`
		Size   int    `json:"cluster_size"`
	} `json:"meta_cluster"`
	Accounts []struct {
		Streams []struct {
			Name    string `json:"name"`
			Cluster struct {
				Leader string `json:"leader"`
			} `json:"cluster"`
		} `json:"stream_detail"`
	} `json:"account_details"`
}

func (c *NATSCluster) ask(ctx context.Context, i int, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.monitors[i]+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s%s: %s", c.monitors[i], path, resp.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// healthy is nil when the server listens and, with JetStream, has caught up with what the cluster decided.
func (c *NATSCluster) healthy(ctx context.Context, i int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := c.ask(ctx, i, "/healthz", nil); err != nil {
		return err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.Nodes[i].Addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

// whole is nil when every server knows all the others and the one that leads.
func (c *NATSCluster) whole(ctx context.Context) error {
	for i := range c.Nodes {
		var all jsz
		if err := c.ask(ctx, i, "/jsz", &all); err != nil {
			return err
		}
		if all.Meta.Leader == "" || all.Meta.Size != len(c.Nodes) {
			return errors.New("a server does not know its cluster yet")
		}
	}
	return nil
}
