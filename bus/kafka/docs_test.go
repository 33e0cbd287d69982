package kafka

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kemi.dev/kemi/internal/brokers"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
)

// What docs/operating.md shows of TLS and a login is a configuration, once its files are there.
func TestTheDocumentedLoginIsAConfiguration(t *testing.T) {
	text, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	const begin = "```yaml\nbus:\n  kafka:\n"
	_, after, found := strings.Cut(string(text), begin)
	block, _, ended := strings.Cut(after, "```")
	if !found || !ended {
		t.Fatal("docs/operating.md shows no bus: {kafka: …} any more")
	}
	dir := t.TempDir()
	ca := brokers.NewCA(t)
	cert, key := ca.Issue(t, brokers.Cert{Name: "kemi"})
	password := filepath.Join(t.TempDir(), "password")
	files := map[string]string{"tls/kafka-ca.pem": ca.File, "tls/kemi.pem": cert, "tls/kemi.key": key, "kafka.password": password}
	for name, from := range files {
		data := []byte("secret\n")
		if from != password {
			if data, err = os.ReadFile(from); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// What is commented out has to be right, too.
	for _, block := range []string{block, strings.Replace(block, "# server_name", "server_name", 1)} {
		file := filepath.Join(dir, "kemi.yaml")
		if err := os.WriteFile(file, []byte(strings.TrimPrefix(begin, "```yaml\n")+block), 0o600); err != nil {
			t.Fatal(err)
		}
		n, problems := conf.Load(file)
		var c Config
		if problems = append(problems, n.Get("bus").Get("kafka").Into(&c)...); len(problems) > 0 {
			t.Fatal(problems.Err())
		}
		if _, err := New(c, "", obs.Scope{}); err != nil {
			t.Fatal(err)
		}
		secure, err := c.TLS.TLS()
		if err != nil || secure.RootCAs == nil || secure.GetClientCertificate == nil && len(secure.Certificates) == 0 || c.SASL.mechanism() == nil {
			t.Errorf("%+v, %v", c, err)
		}
	}
}
