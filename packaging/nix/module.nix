# The NixOS module services.bip324-proxy. The package has the units of packaging/systemd; the
# module adds what depends on the configuration.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.bip324-proxy;
  format = pkgs.formats.toml { };

  # Settings that SIGHUP applies. A change of any other restarts the service.
  reloadable = [
    "allow"
    "announce-v2"
    "auth"
    "auth-file"
    "bind"
    "cjdnsreachable"
    "clients"
    "connect-timeout"
    "deny"
    "grace"
    "inbound-v1"
    "log-addresses"
    "log-level"
    "passthrough"
    "shape"
    "upstream"
    "v1-fallback"
  ];

  # Files that only root can read, passed to the service as systemd credentials.
  secrets = lib.filterAttrs (_: path: path != null) {
    auth = cfg.authFile;
    status-token = cfg.statusTokenFile;
  };
  variable = {
    auth = "BIP324_PROXY_AUTH_FILE";
    status-token = "BIP324_PROXY_STATUS_TOKEN_FILE";
  };

  written = format.generate "bip324-proxy.toml" cfg.settings;
  # The program checks its settings, with stand-ins for the secrets.
  checked = pkgs.runCommand "bip324-proxy.toml" { } (
    "cp ${written} $out\n"
    + lib.optionalString (pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform) ''
      echo user:stand-in-for-a-secret >secret
      ${
        lib.concatMapStrings (name: "${variable.${name}}=$PWD/secret ") (lib.attrNames secrets)
      }${lib.getExe cfg.package} --config $out config >/dev/null
    ''
  );
in
{
  options.services.bip324-proxy = {
    enable = lib.mkEnableOption "bip324-proxy, a SOCKS5 proxy that gives any Bitcoin program encrypted connections";

    package = lib.mkOption {
      type = lib.types.package;
      description = "The package with the program and its systemd units.";
    };

    settings = lib.mkOption {
      type = lib.types.submodule { freeformType = format.type; };
      default = { };
      example = {
        upstream = "socks5://127.0.0.1:9050";
        status = "127.0.0.1:1325";
      };
      description = ''
        The settings, by their names in the configuration file. They are checked when the system
        is built. Everyone on this machine can read them: use `authFile` and `statusTokenFile`
        for secrets.
      '';
    };

    listenStreams = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [
        "127.0.0.1:9324"
        "/run/bip324-proxy.sock"
      ];
      description = ''
        Where systemd listens for clients, instead of 127.0.0.1:1324 and [::1]:1324. Members of
        the group `bip324-proxy` may connect to unix sockets.
      '';
    };

    authFile = lib.mkOption {
      type = lib.types.nullOr (lib.types.strMatching "/.*");
      default = null;
      example = "/run/secrets/bip324-proxy";
      description = "A file with USER:PASSWORD in its first line, which remote clients must send.";
    };

    statusTokenFile = lib.mkOption {
      type = lib.types.nullOr (lib.types.strMatching "/.*");
      default = null;
      description = "A file with the token of the status page in its first line.";
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = !(cfg.settings ? auth || cfg.settings ? status-token);
        message = "services.bip324-proxy: everyone on this machine could read a secret in settings; use authFile or statusTokenFile";
      }
    ];

    services.bip324-proxy.settings.known-peers = lib.mkDefault "/var/lib/bip324-proxy/peers";

    environment.etc."bip324-proxy/config.toml".source = checked;
    environment.systemPackages = [ cfg.package ];
    users.groups.bip324-proxy = { };

    systemd.packages = [ cfg.package ];
    systemd.sockets.bip324-proxy = {
      wantedBy = [ "sockets.target" ];
      # The empty one removes the unit's own addresses.
      listenStreams = lib.mkIf (cfg.listenStreams != [ ]) ([ "" ] ++ cfg.listenStreams);
    };
    systemd.services.bip324-proxy = {
      # These listen only once the service runs.
      wantedBy = lib.mkIf (
        cfg.settings ? inbound || cfg.settings ? listen || cfg.settings ? peer || cfg.settings ? status
      ) [ "multi-user.target" ];
      reloadTriggers = [ checked ];
      restartTriggers = [ (builtins.toJSON (removeAttrs cfg.settings reloadable)) ];
      environment = lib.mapAttrs' (name: _: lib.nameValuePair variable.${name} "%d/${name}") secrets;
      serviceConfig.LoadCredential = lib.mapAttrsToList (name: path: "${name}:${path}") secrets;
    };
  };
}
