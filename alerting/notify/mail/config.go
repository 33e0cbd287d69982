package mail

import (
	"fmt"
	"net"
	netmail "net/mail"
	"slices"
	"strconv"
	"strings"
	"time"

	"kemi.dev/kemi/alerting/notify/words"
	"kemi.dev/kemi/internal/certs"
	"kemi.dev/kemi/internal/conf"
)

// How the connection is encrypted.
const (
	startTLS      = "starttls"      // Plain until STARTTLS, which the server must offer (RFC 3207).
	implicitTLS   = "tls"           // From the first byte (RFC 8314).
	opportunistic = "opportunistic" // STARTTLS when the server offers it.
	unencrypted   = "none"
)

// ways are the authentication mechanisms, the best first for an encrypted connection.
var ways = [...]string{"scram-sha-256", "scram-sha-1", "plain", "login", "cram-md5"}

// Config of a mail server and of whom to write to.
type Config struct {
	// Host is the server that takes mail.
	Host string `yaml:"host"`
	// Port of it; 0 is 587 for starttls, 465 for tls, 25 for others.
	Port int `yaml:"port"`
	// Encryption of the connection: starttls, tls, opportunistic or none.
	Encryption string `yaml:"encryption"`
	// TLS says whom to trust and who we are.
	TLS certs.Client `yaml:"tls"`
	// Username and Password to log in with; without a name nobody logs in.
	Username string      `yaml:"username"`
	Password conf.Secret `yaml:"password"`
	// Auth is the way to log in: plain, login, cram-md5, scram-sha-1, scram-sha-256; empty is the best that is offered.
	Auth string `yaml:"auth"`
	// Hello is the name that the server is greeted with; empty is the machine's.
	Hello string `yaml:"hello"`
	// From is who writes: an address, or Kemi <kemi@example.org>.
	From string `yaml:"from"`
	// To are those who are written to when the page is for a team. One for a person goes to the person's mail address.
	To []string `yaml:"to"`
	// ReplyTo is where answers go; empty is From.
	ReplyTo string `yaml:"reply_to"`
	// Timeout of one attempt, from the connection to the server's last word.
	Timeout time.Duration `yaml:"timeout"`
	// Template are words of one's own.
	Template *words.Templates `yaml:"template"`
}

// Default insists on STARTTLS and gives an attempt ten seconds.
func Default() Config { return Config{Encryption: startTLS, Timeout: 10 * time.Second} }

// Validate implements conf.Validator.
func (c *Config) Validate() []conf.Complaint {
	var all []conf.Complaint
	complain := func(field, what, do string) {
		all = append(all, conf.Complaint{Field: field, What: what, Do: do})
	}
	switch {
	case c.Host == "":
		complain("host", "there is no server to give the mail to", "write host: smtp.example.org")
	case strings.ContainsAny(c.Host, "/ @") || strings.Contains(c.Host, ":") && net.ParseIP(c.Host) == nil:
		complain("host", fmt.Sprintf("%q is no name of a host", c.Host), "write the name or address alone, and port beside it")
	}
	if c.Port < 0 || c.Port > 65535 {
		complain("port", "port is out of range", "use 1 to 65535")
	}
	if !slices.Contains([]string{startTLS, implicitTLS, opportunistic, unencrypted}, c.Encryption) {
		complain("encryption", fmt.Sprintf("there is no encryption %q", c.Encryption), "use starttls, tls, opportunistic or none")
	}
	if c.Auth != "" && !slices.Contains(ways[:], c.Auth) {
		complain("auth", fmt.Sprintf("there is no way to log in that is called %q", c.Auth), "use "+strings.Join(ways[:], ", ")+", or leave it out")
	}
	if c.Username == "" && (c.Auth != "" || !c.Password.IsZero()) {
		complain("username", "there is nobody to log in", "write username and password, or leave auth and password out")
	}
	if c.Username != "" && c.Password.IsZero() {
		complain("password", "a username without its password", "write password or password_file")
	}
	if c.Username != "" && c.Encryption == unencrypted && (c.Auth == "plain" || c.Auth == "login") && !local(c.Host) {
		complain("encryption", "the password would be sent for everybody to read", "use encryption: starttls, or auth: scram-sha-256")
	}
	if c.Timeout <= 0 || c.Timeout > 5*time.Minute {
		complain("timeout", "timeout is out of range", "use 1s to 5m")
	}
	if strings.ContainsFunc(c.Hello, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		complain("hello", fmt.Sprintf("%q is no name of a host", c.Hello), "write a name such as kemi.example.org")
	}
	if c.From == "" {
		complain("from", "nobody writes the mail", "write from: Kemi <kemi@example.org>")
	} else {
		all = append(all, address("from", c.From)...)
	}
	if c.ReplyTo != "" {
		all = append(all, address("reply_to", c.ReplyTo)...)
	}
	for n, to := range c.To {
		all = append(all, address("to."+strconv.Itoa(n), to)...)
	}
	return all
}

func address(field, s string) []conf.Complaint {
	if a, err := netmail.ParseAddress(s); err != nil || !strings.Contains(a.Address, "@") {
		return []conf.Complaint{{Field: field, What: fmt.Sprintf("%q is no mail address", s), Do: "write jo@example.org, or Jo Kim <jo@example.org>"}}
	}
	return nil
}

// local reports whether a host is this machine, to which nobody listens.
func local(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }

func (c *Config) addr() string {
	port := c.Port
	if port == 0 {
		port = map[string]int{startTLS: 587, implicitTLS: 465}[c.Encryption]
	}
	if port == 0 {
		port = 25
	}
	return net.JoinHostPort(c.Host, strconv.Itoa(port))
}
