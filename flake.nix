{
  description = "Local SOCKS5 proxy that gives any Bitcoin program encrypted (BIP324) connections";

  # Needs Go 1.26, which NixOS 26.05 and nixos-unstable have.
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "x86_64-darwin"
        "aarch64-darwin"
      ];
      eachSystem = f: nixpkgs.lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});
      package =
        pkgs:
        pkgs.callPackage ./packaging/nix/package.nix {
          src = self;
          version = "unstable-${builtins.substring 0 8 (self.lastModifiedDate or "00000000")}";
        };
    in
    {
      packages = eachSystem (pkgs: rec {
        bip324-proxy = package pkgs;
        default = bip324-proxy;
      });

      overlays.default = final: prev: { bip324-proxy = package final; };

      nixosModules.default =
        { lib, pkgs, ... }:
        {
          imports = [ ./packaging/nix/module.nix ];
          services.bip324-proxy.package = lib.mkDefault (package pkgs);
        };
    };
}
