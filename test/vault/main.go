// Vault for tests, without Docker: Vault's own core and HTTP handler with just the engines Writ talks to, on file
// storage. It is the real server's code; only start-up is ours.
//
// It holds no promise about secrecy: the one unseal key lies beside the data. Never use it for anything but tests and
// the quickstart. It prints one line of JSON on stdout when it is unsealed and answers, and nothing else there.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/logical/database"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/plugins/database/postgresql"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/file"
	"github.com/hashicorp/vault/vault"
	"github.com/hashicorp/vault/version"
)

// engines is Vault's registry of built-in plugins, reduced to what Writ and its tests use.
type engines map[consts.PluginType]map[string]func() (any, error)

func factory(f logical.Factory) func() (any, error) { return func() (any, error) { return f, nil } }

var builtins = engines{
	consts.PluginTypeCredential: {"approle": factory(approle.Factory)},
	consts.PluginTypeSecrets: {
		"database": factory(database.Factory),
		"kv":       factory(kv.Factory),
	},
	consts.PluginTypeDatabase: {"postgresql-database-plugin": postgresql.New},
}

func (e engines) Contains(name string, kind consts.PluginType) bool {
	_, found := e.Get(name, kind)
	return found
}

func (e engines) Get(name string, kind consts.PluginType) (func() (any, error), bool) {
	make, found := e[kind][name]
	return make, found
}

func (e engines) Keys(kind consts.PluginType) []string {
	names := make([]string, 0, len(e[kind]))
	for name := range e[kind] {
		names = append(names, name)
	}
	return names
}

func (e engines) DeprecationStatus(name string, kind consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, e.Contains(name, kind)
}

func (e engines) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on; port 0 takes a free one")
	data := flag.String("data", "", "folder for storage and unseal key; made if absent")
	rootTokenFile := flag.String("root-token-file", "", "where the root token is written when the storage is new (mode 0600)")
	showVersion := flag.Bool("version", false, "print the version of Vault and leave")
	flag.Parse()
	if *showVersion {
		fmt.Printf("Vault v%s (for tests)\n", version.Version)
		return
	}
	if *data == "" || *rootTokenFile == "" {
		fmt.Fprintln(os.Stderr, "both -data and -root-token-file are needed")
		os.Exit(2)
	}
	if err := run(*listen, *data, *rootTokenFile); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(listen, data, rootTokenFile string) error {
	logger := hclog.New(&hclog.LoggerOptions{Name: "vault", Level: hclog.Warn, Output: os.Stderr})
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	storage, err := file.NewFileBackend(map[string]string{"path": filepath.Join(data, "storage")}, logger)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	address := "http://" + listener.Addr().String()
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical:           storage,
		StorageType:        "file",
		BuiltinRegistry:    builtins,
		LogicalBackends:    map[string]logical.Factory{"database": database.Factory, "kv": kv.Factory},
		CredentialBackends: map[string]logical.Factory{"approle": approle.Factory},
		DisableMlock:       true,
		Logger:             logger,
		RedirectAddr:       address,
	})
	if err != nil {
		return fmt.Errorf("core: %w", err)
	}
	server := &http.Server{
		Handler: vaulthttp.Handler.Handler(&vault.HandlerProperties{
			Core:           core,
			ListenerConfig: &configutil.Listener{Type: "tcp", Address: listener.Addr().String()},
		}),
		ReadHeaderTimeout: 10 * time.Second,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()

	if err := unseal(address, data, rootTokenFile); err != nil {
		return err
	}
	ready, err := json.Marshal(map[string]any{"ready": true, "address": address, "version": version.Version})
	if err != nil {
		return err
	}
	fmt.Println(string(ready))

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	select {
	case err := <-failed:
		return err
	case <-stop:
	}
	deadline, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = server.Shutdown(deadline)
	return core.Shutdown()
}

// unseal opens the storage through Vault's own API, and initialises it first when it is new. The unseal key is kept
// before the root token is, so that a folder with a root token can always be opened again.
func unseal(address, data, rootTokenFile string) error {
	keyFile := filepath.Join(data, "unseal-key")
	var state struct{ Initialized bool }
	if err := call(http.MethodGet, address+"/v1/sys/init", nil, &state); err != nil {
		return err
	}
	if !state.Initialized {
		var made struct {
			Keys      []string `json:"keys_base64"`
			RootToken string   `json:"root_token"`
		}
		shares := map[string]int{"secret_shares": 1, "secret_threshold": 1}
		if err := call(http.MethodPut, address+"/v1/sys/init", shares, &made); err != nil {
			return err
		}
		if len(made.Keys) != 1 || made.RootToken == "" {
			return errors.New("sys/init answered without a key or a token")
		}
		if err := os.WriteFile(keyFile, []byte(made.Keys[0]), 0o600); err != nil {
			return err
		}
		if err := os.WriteFile(rootTokenFile, []byte(made.RootToken), 0o600); err != nil {
			return err
		}
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return err
	}
	var seal struct{ Sealed bool }
	if err := call(http.MethodPut, address+"/v1/sys/unseal", map[string]string{"key": string(key)}, &seal); err != nil {
		return err
	}
	if seal.Sealed {
		return errors.New("still sealed after its key")
	}
	return becomeActive(address)
}

// becomeActive waits until the unsealed core serves requests: the answer to unseal comes a moment earlier.
func becomeActive(address string) error {
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = call(http.MethodGet, address+"/v1/sys/health", nil, nil); err == nil {
			return nil
		}
	}
	return err
}

// call answers with the decoded body of a 2xx. An error names the path and the status, never the body: it may hold keys.
func call(method, url string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequest(method, url, bytes.NewReader(text))
	if err != nil {
		return err
	}
	answer, err := (&http.Client{Timeout: 30 * time.Second}).Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s", method, request.URL.Path, answer.Status)
	}
	if into == nil {
		_, err = io.Copy(io.Discard, answer.Body)
		return err
	}
	return json.NewDecoder(answer.Body).Decode(into)
}
