// Package certs holds whom a client of TLS trusts and who it is, as a configuration names it.
//
// In: paths of files in PEM, relative to the configuration file. Out: complaints before anything is dialled, and what
// crypto/tls wants. It promises that a certificate that was renewed is used with the next connection. It never shows what
// is in a key's file.
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"kemi.dev/kemi/internal/conf"
)

// Client is the client's side; the zero Client trusts the machine's authorities and is nobody.
type Client struct {
	// At is where it stands in the configuration; the paths in it are relative to that file's folder.
	At conf.Pos
	// CAFile holds the authorities that may have signed the server's certificate; "" are the machine's.
	CAFile string `yaml:"ca_file"`
	// CertFile and KeyFile are the client's certificate and its key.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// ServerName is whom the server's certificate is for, when that is not the host of its address.
	ServerName string `yaml:"server_name"`
}

var errNoCertificate = errors.New("it holds no certificate in PEM")

// Authorities reads CAFile; nil are the machine's.
func (c Client) Authorities() (*x509.CertPool, error) {
	if c.CAFile == "" {
		return nil, nil
	}
	text, what, _ := c.At.ReadFile(c.CAFile)
	if what != "" {
		return nil, fmt.Errorf("read the authorities: %w", errors.New(what))
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read the authorities in %s: %w", c.At.Path(c.CAFile), errNoCertificate)
	}
	return pool, nil
}

// Certificate reads the client's certificate and its key.
func (c Client) Certificate() (tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.At.Path(c.CertFile), c.At.Path(c.KeyFile))
	if err != nil {
		return pair, fmt.Errorf("read the client certificate: %w", err)
	}
	return pair, nil
}

// TLS is the configuration for crypto/tls. The authorities are read now, the client's certificate with every connection.
func (c Client) TLS() (*tls.Config, error) {
	pool, err := c.Authorities()
	if err != nil {
		return nil, err
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName, RootCAs: pool}
	if c.CertFile != "" {
		out.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := c.Certificate()
			return &pair, err
		}
	}
	return out, nil
}

// Validate implements conf.Validator. It reads the files.
func (c Client) Validate() []conf.Complaint {
	var all []conf.Complaint
	complain := func(field, what, do string) {
		all = append(all, conf.Complaint{Field: field, What: what, Do: do})
	}
	if c.CAFile != "" {
		if _, what, do := c.At.ReadFile(c.CAFile); what != "" {
			complain("ca_file", what, do)
		} else if _, err := c.Authorities(); err != nil {
			complain("ca_file", c.At.Path(c.CAFile)+": "+errNoCertificate.Error(), "give the file with the certificate of the authority that signed the server's")
		}
	}
	switch {
	case c.CertFile == "" && c.KeyFile == "":
		return all
	case c.CertFile == "":
		complain("key_file", "a key without its certificate", "give cert_file too")
		return all
	case c.KeyFile == "":
		complain("cert_file", "a certificate without its key", "give key_file too")
		return all
	}
	before := len(all)
	if _, what, do := c.At.ReadFile(c.CertFile); what != "" {
		complain("cert_file", what, do)
	}
	if _, what, do := c.At.ReadFile(c.KeyFile); what != "" {
		complain("key_file", what, do)
	}
	if len(all) > before {
		return all
	}
	pair, err := c.Certificate()
	if err != nil {
		complain("cert_file", fmt.Sprintf("%s and %s are no certificate with its key (%v)", c.At.Path(c.CertFile), c.At.Path(c.KeyFile), errors.Unwrap(err)), "give both in PEM, the key without a passphrase")
	} else if leaf := pair.Leaf; leaf != nil && time.Now().After(leaf.NotAfter) {
		complain("cert_file", fmt.Sprintf("%s: the certificate expired at %s", c.At.Path(c.CertFile), leaf.NotAfter.UTC().Format(time.RFC3339)), "have it renewed")
	}
	return all
}
