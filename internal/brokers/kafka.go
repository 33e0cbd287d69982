package brokers

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"kemi.dev/kemi/internal/netns"
)

// kafkaVersion is the Kafka that Maven is asked for.
const kafkaVersion = "4.1.1"

// KafkaOptions say what a Kafka node asks of its clients. The zero value asks for nothing.
type KafkaOptions struct {
	TLS *TLS
	// SASL is the mechanism clients have to use: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, or "" for none.
	SASL string
	// Users are the passwords by name.
	Users map[string]string
	// ACLs are what users may do; nil lets everybody do everything. With TLS and no SASL a user is its certificate's
	// CN=name. What is not allowed is refused then.
	ACLs []kafka.ACLEntry
	// Paths is how many ways of their own there are beside the direct one. Who begins on a path is told to stay there.
	Paths int
	// Config is added to each node's properties, and replaces what stands there.
	Config map[string]string
}

// KafkaCluster is one node, or several with every topic's default of as many replicas, two of them in sync.
type KafkaCluster struct {
	Nodes []*Node
	// Paths as asked for in the options.
	Paths []*Path
	// Addrs are the client listeners, host:port.
	Addrs []string

	inside []string // Each node's listener for the other nodes: it asks for nothing.
}

// Kafka runs n nodes, 1 or 3, each of them broker and controller.
func Kafka(t testing.TB, n int, options ...KafkaOptions) *KafkaCluster {
	t.Helper()
	jars := kafkaJars(t)
	var o KafkaOptions
	for _, o = range options { // There is one, or none.
	}
	c := &KafkaCluster{}
	var votes []string
	plans := make([]kafkaPlan, n)
	for i := range n {
		p := kafkaPlan{id: i + 1, nodes: n, client: Address(t), inside: Address(t), control: Address(t)}
		c.Addrs, c.inside = append(c.Addrs, p.client), append(c.inside, p.inside)
		votes = append(votes, fmt.Sprintf("%d@%s", p.id, p.control))
		plans[i] = p
	}
	// The listener of a path says that it is to be reached through the path's cutter.
	for range o.Paths {
		var targets []string
		for range n {
			targets = append(targets, Address(t))
		}
		path := newPath(t, "kafka", targets)
		c.Paths = append(c.Paths, path)
		for i := range n {
			plans[i].paths = append(plans[i].paths, [2]string{targets[i], path.Cutters[i].Addr()})
		}
	}
	root := t.TempDir()
	cluster := base64.RawURLEncoding.EncodeToString([]byte("kemi's test bed!")) // A UUID is any 16 bytes.
	for i, p := range plans {
		name := fmt.Sprintf("k%d", p.id)
		node := &Node{t: t, Name: name, Addr: p.client, Dir: filepath.Join(root, name), log: filepath.Join(root, name+".log")}
		p.dir, p.votes = node.Dir, strings.Join(votes, ",")
		properties := filepath.Join(root, name+".properties")
		if err := os.WriteFile(properties, []byte(kafkaProperties(t, o, p)), 0o600); err != nil {
			t.Fatal(err)
		}
		java := []string{
			"java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xmx384m",
			"-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS", "-cp", filepath.Join(jars, "*"),
		}
		node.argv = append(java, "kafka.Kafka", properties)
		format := append(java, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", properties)
		if strings.HasPrefix(o.SASL, "SCRAM") {
			for user, password := range o.Users {
				format = append(format, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", o.SASL, user, password))
			}
		}
		node.prepare = func(ctx context.Context) error {
			if _, err := os.Stat(filepath.Join(node.Dir, "meta.properties")); err == nil {
				return nil
			}
			out, err := exec.CommandContext(ctx, format[0], format[1:]...).CombinedOutput()
			if err != nil {
				return fmt.Errorf("format: %w\n%s", err, out)
			}
			return nil
		}
		node.ready = func(ctx context.Context) error { return c.knows(ctx, i, 1) }
		c.Nodes = append(c.Nodes, node)
	}
	run(t, c.Nodes)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := poll(ctx, func() error { return c.whole(ctx) }); err != nil {
		t.Fatalf("the cluster is not whole: %v", err)
	}
	if len(o.ACLs) > 0 {
		c.allow(ctx, t, o.ACLs)
	}
	return c
}

// pom asks for the broker, its dependencies, and somebody who prints what it says.
const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>test</groupId><artifactId>kafka</artifactId><version>1</version><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>` + kafkaVersion + `</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
</dependencies></project>
`

// kafkaJars returns the directory of Kafka's jars, which come from Maven Central once.
func kafkaJars(t testing.TB) string {
	t.Helper()
	for _, tool := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			netns.Missing(t, tool+" (Debian packages default-jre-headless, maven)")
		}
	}
	jars, err := cached("kafka-"+kafkaVersion, func(path string) error {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "pom.xml"), []byte(pom), 0o600); err != nil {
			return err
		}
		cmd := exec.CommandContext(t.Context(), "mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory="+path)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	})
	if err != nil {
		netns.Missing(t, "Kafka "+kafkaVersion+" from Maven Central: "+err.Error()+",")
	}
	return jars
}

// knows is nil when node i answers and knows itself and at least so many nodes.
func (c *KafkaCluster) knows(ctx context.Context, i, nodes int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := c.ask(ctx, i)
	if err != nil {
		return err
	}
	defer conn.Close()
	all, err := conn.Brokers()
	if err != nil {
		return err
	}
	for _, b := range all {
		if b.ID == i+1 && len(all) >= nodes {
			return nil
		}
	}
	return fmt.Errorf("it knows %d nodes, want %d and itself", len(all), nodes)
}

func (c *KafkaCluster) whole(ctx context.Context) error {
	for i := range c.Nodes {
		if err := c.knows(ctx, i, len(c.Nodes)); err != nil {
			return fmt.Errorf("%s: %w", c.Nodes[i].Name, err)
		}
	}
	return nil
}

// ask connects to node i itself.
func (c *KafkaCluster) ask(ctx context.Context, i int) (*kafka.Conn, error) {
	conn, err := (&kafka.Dialer{}).DialContext(ctx, "tcp", c.inside[i])
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	return conn, conn.SetDeadline(deadline)
}

// Leader is the node that leads a partition; nil while there is none, or when nobody who runs knows.
func (c *KafkaCluster) Leader(topic string, partition int) *Node {
	return c.find(func(conn *kafka.Conn) (int, error) {
		all, err := conn.ReadPartitions(topic)
		for _, p := range all {
			if p.ID == partition {
				return p.Leader.ID, err
			}
		}
		return 0, err
	})
}

func (c *KafkaCluster) find(ask func(*kafka.Conn) (int, error)) *Node {
	for i, n := range c.Nodes {
		if !n.Alive() {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		id := 0
		conn, err := c.ask(ctx, i)
		if err == nil {
			id, err = ask(conn)
			conn.Close()
		}
		cancel()
		if err == nil && id >= 1 && id <= len(c.Nodes) {
			return c.Nodes[id-1]
		}
	}
	return nil
}

// allow writes access rules. The listener between nodes lets everybody do everything.
func (c *KafkaCluster) allow(ctx context.Context, t testing.TB, acls []kafka.ACLEntry) {
	t.Helper()
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(c.inside...), Transport: transport, Timeout: 10 * time.Second}
	answer, err := client.CreateACLs(ctx, &kafka.CreateACLsRequest{ACLs: acls})
	if err == nil {
		err = errors.Join(answer.Errors...)
	}
	if err != nil {
		t.Fatalf("write access rules: %v", err)
	}
}
