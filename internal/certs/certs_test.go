package certs_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"

	"kemi.dev/kemi/internal/brokers"
	"kemi.dev/kemi/internal/certs"
	"kemi.dev/kemi/internal/conf"
)

// A certificate that is renewed in its files is shown with the next connection; nobody starts anything anew.
func TestARenewedCertificateIsShownNext(t *testing.T) {
	ca := brokers.NewCA(t)
	dir := t.TempDir()
	put := func(name string) {
		cert, key := ca.Issue(t, brokers.Cert{Name: name})
		for from, to := range map[string]string{cert: "c.pem", key: "k.pem"} {
			text, err := os.ReadFile(from)
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, to), text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	put("first")
	client := certs.Client{At: conf.Pos{File: filepath.Join(dir, "kemi.yaml")}, CAFile: ca.File, CertFile: "c.pem", KeyFile: "k.pem"}
	if said := client.Validate(); len(said) > 0 {
		t.Fatalf("complaints: %v", said)
	}
	side, err := client.TLS()
	if err != nil {
		t.Fatal(err)
	}
	shown := func() string {
		pair, err := side.GetClientCertificate(&tls.CertificateRequestInfo{})
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.Subject.CommonName
	}
	before := shown()
	put("second")
	if after := shown(); before != "first" || after != "second" {
		t.Errorf("shown are %q and after the renewal %q", before, after)
	}
}
