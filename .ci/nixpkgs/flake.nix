{
  description = "A stand-in for nixpkgs in .ci/nix: buildGoModule with this machine's Go and shell";

  outputs =
    { self }:
    let
      inherit (import ./lib.nix) lib evaluate;
      env = builtins.getEnv;
      shell = name: attrs: script: derivation ({
        inherit name;
        system = builtins.currentSystem or "x86_64-linux";
        builder = "/bin/bash";
        args = [ "-euc" script ];
        PATH = env "PATH";
        HOME = "/nonexistent";
        GOMODCACHE = env "GOMODCACHE";
        GOCACHE = env "GOCACHE";
        GOPROXY = env "GOPROXY";
        GOSUMDB = env "GOSUMDB";
        GOTOOLCHAIN = "local";
      } // attrs);

      buildGoModule = a:
        let
          vendor = shell "vendor" {
            outputHashMode = "recursive";
            outputHash = a.vendorHash;
          } "cd ${a.src}; go mod vendor -o $out";
        in
        shell "${a.pname}-${a.version}" { inherit (a.env) CGO_ENABLED; } ''
          substituteInPlace() { # FILE --replace-fail OLD NEW
            grep -qF -- "$3" "$1"
            sed -i "s|$3|$4|" "$1"
          }
          installManPage() { install -D -m 644 "$1" -t $out/share/man/man1; }
          installShellCompletion() { install -D -m 644 "$4" -t $out/share/completions; } # --cmd NAME --SHELL FILE
          runHook() { :; }
          cp -R ${a.src} src
          chmod -R u+w src
          cd src
          cp -R ${vendor} vendor
          mkdir -p $out/bin
          go build -mod=vendor -trimpath -ldflags "${toString a.ldflags}" -o $out/bin/ ${toString (map (p: "./${p}") a.subPackages)}
          ${a.postInstall}
          ${a.installCheckPhase}
        '' // { inherit (a) meta; };

      pkgs = system: rec {
        inherit lib system;
        stdenv = {
          buildPlatform.canExecute = _: true;
          hostPlatform.isLinux = builtins.match ".*-linux" system != null;
        };
        runCommand = shell;
        # JSON strings, numbers and lists of them are TOML.
        formats.toml = { }: {
          type = lib.types.anything;
          generate = name: value: builtins.toFile name (builtins.concatStringsSep "" (lib.mapAttrsToList (k: v: "${k} = ${builtins.toJSON v}\n") value));
        };
        callPackage = path: args: import path ({ inherit lib stdenv buildGoModule; installShellFiles = null; } // args);
      };
    in
    {
      inherit lib evaluate;
      legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" "x86_64-darwin" "aarch64-darwin" ] pkgs;
    };
}
