package nats

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"kemi.dev/kemi/internal/certs"
	"kemi.dev/kemi/internal/conf"
)

// Config says which server to use, and as whom.
type Config struct {
	// At is where it stands in the configuration; the paths in it are relative to that file's folder.
	At conf.Pos
	// Embedded runs the servers in this process; so does leaving out URLs.
	Embedded bool `yaml:"embedded"`
	// URLs of an external server or cluster, such as nats://10.0.0.1:4222 or tls://… What a topic's durability power
	// means there the server decides: set sync_interval: always, or keep several replicas.
	URLs []string `yaml:"urls"`
	// One of: a user with a password, a token, a credentials file (a JWT and its seed), an nkey's seed file.
	User      string      `yaml:"user"`
	Password  conf.Secret `yaml:"password"`
	Token     conf.Secret `yaml:"token"`
	CredsFile string      `yaml:"creds_file"`
	NkeyFile  string      `yaml:"nkey_file"`
	// TLS, even empty, insists on an encrypted connection. A server that requires one gets it anyway.
	TLS *TLS `yaml:"tls"`
	// InboxPrefix begins the subjects on which answers come; "" is _INBOX. A user that may not listen to the inboxes of
	// others is given one of its own.
	InboxPrefix string `yaml:"inbox_prefix"`
	// Prefix begins the names of all subjects, streams and buckets; "" is kemi.
	Prefix string `yaml:"prefix"`
	// Replicas of each stream in a cluster, 1 to 5; 0 is 1.
	Replicas int `yaml:"replicas"`
}

// TLS says whom to trust, and who we are. All files are PEM, and read anew with every connection.
type TLS struct {
	certs.Client `yaml:",inline"`
	// HandshakeFirst is for servers that are set so: they say nothing before the connection is encrypted.
	HandshakeFirst bool `yaml:"handshake_first"`
}

var (
	prefixes = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	inboxes  = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)
)

// UnmarshalConf implements conf.Unmarshaler: what only the file can tell.
func (c *Config) UnmarshalConf(n conf.Node) conf.Problems {
	if urls := n.Get("urls"); urls.Kind() == conf.Scalar { // Not shown: it may hold a password.
		return conf.Problems{urls.Problem(`expected a list for "urls"`, `write urls: ["nats://host:4222"]`)}
	}
	type plain Config
	problems := n.Into((*plain)(c))
	if urls := n.Get("urls"); !urls.IsZero() && !c.Embedded && len(c.URLs) == 0 && len(problems) == 0 {
		// Who wrote it meant servers elsewhere, and a template may have left them out.
		return append(problems, urls.Problem("urls is empty", `name a server, urls: ["nats://host:4222"], or write embedded: true`))
	}
	if e := n.Get("embedded"); e.Kind() == conf.Scalar && !c.Embedded && len(c.URLs) == 0 && len(problems) == 0 {
		problems = append(problems, e.Problem("embedded: false without urls leaves no server to use", `write urls: ["nats://host:4222"], or embedded: true`))
	}
	return problems
}

// Validate implements conf.Validator. It reads the files that are named.
func (c *Config) Validate() []conf.Complaint {
	var all []conf.Complaint
	complain := func(field, what, do string) {
		all = append(all, conf.Complaint{Field: field, What: what, Do: do})
	}
	embedded := len(c.URLs) == 0
	for i, u := range c.URLs {
		if what, do := judgeURL(u); what != "" {
			complain("urls."+strconv.Itoa(i), what, do)
		}
	}
	if isWebSocket := func(u string) bool { return strings.HasPrefix(u, "ws") }; !embedded && slices.ContainsFunc(c.URLs, isWebSocket) {
		for i, u := range c.URLs {
			if !isWebSocket(u) {
				complain("urls."+strconv.Itoa(i), "ws and other addresses cannot be mixed", "give all addresses as ws:// or wss://, or none")
				break
			}
		}
	}
	ways := c.ways()
	switch {
	case c.Embedded && !embedded:
		complain("embedded", "embedded and urls exclude each other", "remove one of them")
	case embedded && len(ways) > 0:
		complain(ways[0], ways[0]+" is for an external server, and there are no urls", `write urls: ["nats://host:4222"], or remove it`)
	case embedded && c.TLS != nil:
		complain("tls", "tls is for an external server, and there are no urls", `write urls: ["tls://host:4222"], or remove it`)
	case len(ways) > 1:
		complain(strings.TrimPrefix(ways[1], inURLs), strings.Join(ways, " and ")+" exclude each other", "keep one of them")
	case c.User != "" && c.Password.IsZero():
		complain("user", "a user without a password", "give password or password_file")
	case c.User == "" && !c.Password.IsZero():
		complain("password", "a password without a user", "give user; what a server calls a token is given as token or token_file")
	}
	if c.CredsFile != "" {
		if what, do := c.judgeCreds(); what != "" {
			complain("creds_file", what, do)
		}
	}
	if c.NkeyFile != "" {
		if what, do := c.judgeSeed(); what != "" {
			complain("nkey_file", what, do)
		}
	}
	if c.Prefix != "" && !prefixes.MatchString(c.Prefix) {
		complain("prefix", fmt.Sprintf("prefix %q cannot begin the name of a stream", c.Prefix), "only letters, digits, _ and - are allowed")
	}
	if c.InboxPrefix != "" && !inboxes.MatchString(c.InboxPrefix) {
		complain("inbox_prefix", fmt.Sprintf("inbox_prefix %q cannot begin a subject", c.InboxPrefix), "write it like _INBOX_kemi, without a dot at its end")
	}
	switch {
	case c.Replicas < 0 || c.Replicas > 5:
		complain("replicas", fmt.Sprintf("%d replicas", c.Replicas), "1 to 5 are possible, 3 is usual in a cluster")
	case embedded && c.Replicas > 1:
		complain("replicas", "an embedded server keeps one replica", "use urls of a cluster for more")
	}
	return all
}

// inURLs begins the name of the way that is not a setting of its own.
const inURLs = "the user in "

// ways are what says who we are.
func (c *Config) ways() []string {
	var ways []string
	for _, w := range []struct {
		name  string
		given bool
	}{
		{"user", c.User != "" || !c.Password.IsZero()},
		{"token", !c.Token.IsZero()},
		{"creds_file", c.CredsFile != ""},
		{"nkey_file", c.NkeyFile != ""},
		{inURLs + "urls", slices.ContainsFunc(c.URLs, func(u string) bool { return strings.Contains(u, "@") })},
	} {
		if w.given {
			ways = append(ways, w.name)
		}
	}
	return ways
}

// complete checks the configuration and fills in its defaults.
func (c *Config) complete() error {
	var all []error
	complaints := c.Validate()
	if c.TLS != nil {
		complaints = append(complaints, c.TLS.Validate()...)
	}
	for _, p := range complaints {
		all = append(all, fmt.Errorf("nats: %s: %s", p.What, p.Do))
	}
	if c.Prefix == "" {
		c.Prefix = "kemi"
	}
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	return errors.Join(all...)
}

// judgeURL says what is wrong with an address. It shows none, for it may hold a password.
func judgeURL(text string) (what, do string) {
	const form = `write it like "nats://host:4222"`
	scheme, rest, ok := strings.Cut(text, "://")
	switch {
	case text == "":
		return "an empty address", form
	case !ok:
		return fmt.Sprintf("the address %s has no scheme", redact(text)), form
	case !slices.Contains([]string{"nats", "tls", "ws", "wss"}, scheme):
		return fmt.Sprintf("the scheme %q is none of a NATS server", scheme), "use nats://, tls://, ws:// or wss://"
	case strings.Contains(rest, ","):
		return "several addresses in one", "make each an entry of its own in urls"
	}
	u, err := url.Parse(text)
	var parse *url.Error
	switch {
	case errors.As(err, &parse):
		return fmt.Sprintf("the address %s cannot be read", redact(text)), form + `; write what is special in a password as %XX, or give it as password`
	case u.Hostname() == "":
		return fmt.Sprintf("the address %s has no host", redact(text)), form
	case strings.HasSuffix(u.Host, ":"):
		return fmt.Sprintf("the address %s has no port behind the colon", redact(text)), form
	case u.Path != "" && u.Path != "/" && !strings.HasPrefix(scheme, "ws"), u.RawQuery != "", u.Fragment != "":
		return fmt.Sprintf("the address %s has something behind the port", redact(text)), form
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return fmt.Sprintf("%s is no port", p), form
		}
	}
	return "", ""
}

// redact hides what may be secret in an address.
func redact(u string) string {
	i := strings.LastIndexByte(u, '@')
	if i < 0 {
		return u
	}
	if scheme, _, ok := strings.Cut(u, "://"); ok {
		return scheme + "://…@" + u[i+1:]
	}
	return "…@" + u[i+1:]
}

func redacted(urls []string) string {
	out := make([]string, len(urls))
	for i, u := range urls {
		out[i] = redact(u)
	}
	return strings.Join(out, ", ")
}
