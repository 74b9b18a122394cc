export {
  AxesHelper, BoxGeometry, BufferAttribute, BufferGeometry, Color, DoubleSide, GridHelper, HemisphereLight,
  Matrix4, Mesh, MeshStandardMaterial, PerspectiveCamera, Raycaster, Scene, ShaderMaterial, SphereGeometry,
  Spherical, Vector2, Vector3, WebGLRenderer
} from "three";
export { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
