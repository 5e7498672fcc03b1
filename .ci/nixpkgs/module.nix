# What .ci/nix reads of the configuration that the module makes of the settings "given".
{ nixpkgs, flake, given }:
let
  c = nixpkgs.evaluate (nixpkgs.legacyPackages.x86_64-linux) flake.nixosModules.default given;
  service = c.systemd.services.bip324-proxy;
in
{
  file = c.environment.etc."bip324-proxy/config.toml".source;
  result = {
    refused = builtins.concatMap (a: if a.assertion then [ ] else [ a.message ]) c.assertions;
    packages = map toString c.systemd.packages;
    groups = builtins.attrNames c.users.groups;
    socket = { listenStreams = [ ]; } // c.systemd.sockets.bip324-proxy;
    service = {
      wantedBy = service.wantedBy or [ ];
      inherit (service) environment restartTriggers;
      credentials = service.serviceConfig.LoadCredential;
    };
  };
}
