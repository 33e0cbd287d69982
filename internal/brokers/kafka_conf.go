package brokers

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// kafkaPlan is where one node listens and stores.
type kafkaPlan struct {
	id, nodes               int
	client, inside, control string
	paths                   [][2]string // Listener, and the address it tells its clients.
	dir, votes              string
}

// kafkaProperties writes the configuration of one node: small, quick to notice that another is gone, and quick to clean
// up, for tests wait for that.
func kafkaProperties(t testing.TB, o KafkaOptions, p kafkaPlan) string {
	t.Helper()
	all := map[string]string{
		"process.roles": "broker,controller", "node.id": fmt.Sprint(p.id), "controller.quorum.voters": p.votes, "log.dirs": p.dir,
		"inter.broker.listener.name": "INSIDE", "controller.listener.names": "CONTROL",
		"auto.create.topics.enable": "false", "delete.topic.enable": "true", "num.partitions": "1",
		"default.replication.factor": fmt.Sprint(p.nodes), "min.insync.replicas": fmt.Sprint(min(2, p.nodes)),
		"offsets.topic.num.partitions": "4", "offsets.topic.replication.factor": fmt.Sprint(p.nodes),
		"transaction.state.log.num.partitions": "4", "transaction.state.log.replication.factor": fmt.Sprint(p.nodes),
		"transaction.state.log.min.isr":                fmt.Sprint(min(2, p.nodes)),
		"share.coordinator.state.topic.num.partitions": "1", "share.coordinator.state.topic.replication.factor": fmt.Sprint(p.nodes),
		"share.coordinator.state.topic.min.isr": fmt.Sprint(min(2, p.nodes)),
		"group.initial.rebalance.delay.ms":      "0", "group.min.session.timeout.ms": "500",
		"log.cleaner.backoff.ms": "250", "log.initial.task.delay.ms": "500", "log.retention.check.interval.ms": "1000",
		"log.cleaner.dedupe.buffer.size": "4194304", "num.network.threads": "2", "num.io.threads": "4",
		"broker.session.timeout.ms": "6000", "broker.heartbeat.interval.ms": "1000", "replica.lag.time.max.ms": "6000",
		"controlled.shutdown.enable": "true",
	}
	security := map[bool]string{false: "PLAINTEXT", true: "SSL"}[o.TLS != nil]
	if o.SASL != "" {
		security = "SASL_" + security
	}
	listeners := []string{"CLIENT://" + p.client, "INSIDE://" + p.inside, "CONTROL://" + p.control}
	advertised := []string{"CLIENT://" + p.client, "INSIDE://" + p.inside}
	protocols := []string{"CLIENT:" + security, "INSIDE:PLAINTEXT", "CONTROL:PLAINTEXT"}
	for i, path := range p.paths {
		name := fmt.Sprintf("PATH%d", i)
		listeners = append(listeners, name+"://"+path[0])
		advertised = append(advertised, name+"://"+path[1])
		protocols = append(protocols, name+":"+security)
	}
	all["listeners"], all["advertised.listeners"] = strings.Join(listeners, ","), strings.Join(advertised, ",")
	all["listener.security.protocol.map"] = strings.Join(protocols, ",")
	if o.SASL != "" {
		all["sasl.enabled.mechanisms"] = o.SASL
		for _, listener := range listeners {
			name, _, _ := strings.Cut(listener, ":")
			all[fmt.Sprintf("listener.name.%s.%s.sasl.jaas.config", strings.ToLower(name), strings.ToLower(o.SASL))] = jaas(o)
		}
	}
	if o.TLS != nil {
		secure(t, o.TLS, all, listeners)
	}
	if len(o.ACLs) > 0 {
		all["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
		all["super.users"] = "User:ANONYMOUS" // The nodes among themselves, whose listeners ask for no name.
	}
	maps.Copy(all, o.Config)
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s=%s\n", key, strings.ReplaceAll(all[key], "\n", "\\n"))
	}
	return b.String()
}

// jaas is the module that knows the users; those of SCRAM stand in the cluster's metadata.
func jaas(o KafkaOptions) string {
	if o.SASL != "PLAIN" {
		return "org.apache.kafka.common.security.scram.ScramLoginModule required;"
	}
	var b strings.Builder
	b.WriteString("org.apache.kafka.common.security.plain.PlainLoginModule required")
	for _, user := range slices.Sorted(maps.Keys(o.Users)) {
		fmt.Fprintf(&b, " user_%s=%q", user, o.Users[user])
	}
	return b.String() + ";"
}

// secure gives a node its certificate.
func secure(t testing.TB, s *TLS, all map[string]string, listeners []string) {
	t.Helper()
	cert, key := s.CA.Issue(t, s.Cert)
	for name, file := range map[string]string{
		"ssl.keystore.certificate.chain": cert, "ssl.keystore.key": key, "ssl.truststore.certificates": s.CA.File,
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(text)
	}
	all["ssl.keystore.type"], all["ssl.truststore.type"] = "PEM", "PEM"
	if !s.Clients {
		return
	}
	// A listener with SASL asks for a certificate only when it is told so under its own name.
	for _, listener := range listeners {
		name, _, _ := strings.Cut(listener, ":")
		all["listener.name."+strings.ToLower(name)+".ssl.client.auth"] = "required"
	}
}
